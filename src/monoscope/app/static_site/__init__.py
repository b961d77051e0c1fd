"""A catalogue as a folder of files that any web host serves: the same pages, without a server of ours."""
