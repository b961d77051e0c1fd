"""``LanguageModel.run``: cutting, writing, gradients, masks; and the maps around the residual stream."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import CONFIGS, CONTEXT, ENCODERS, PARALLEL, VOCABULARY, block, close, language_model
from torch import Tensor, nn

from monoscope.errors import MonoscopeError
from monoscope.models.language_model import LanguageModel
from monoscope.types import PADDING, TokenBlock

everywhere = pytest.mark.parametrize("family", CONFIGS)
decoders = pytest.mark.parametrize("family", [f for f in CONFIGS if f not in ENCODERS])
sequential = pytest.mark.parametrize("family", [f for f in CONFIGS if f not in PARALLEL])


def last(lm: LanguageModel) -> str:
    """The deepest site."""
    return str(lm.sites()[-1])


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def counted(model: nn.Module) -> dict[str, int]:
    """How often each module is called from now on."""
    calls: dict[str, int] = {}
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda m, a, name=name: calls.update({name: calls.get(name, 0) + 1}))
    return calls


@everywhere
def test_the_cut_cuts(family: str):
    whole = language_model(family)
    lm = LanguageModel(copy.deepcopy(whole.model), whole.tokeniser, name=family)
    layout = lm._sites.layout
    assert layout is not None
    calls = counted(lm.model)
    lm.run(block(), read=["resid_post.0", "attn_out.0"])
    second = layout.layers[1].places["resid_pre"].path
    assert layout.layers[0].places["resid_pre"].path in calls
    assert not [name for name in calls if name == second or name.startswith(second + ".")]
    calls.clear()
    lm.run(block(), read=["resid_pre.1"])  # the block is entered, nothing in it runs
    assert not [name for name in calls if name.startswith(second + ".")]


@everywhere
def test_nothing_is_left_behind(family: str):
    lm = language_model(family)
    before = hooks(lm.model)
    lm.run(block(), read=["resid_post.0"], write={"mlp_out.0": lambda x: x * 2})

    def fails(x: Tensor) -> Tensor:
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        lm.run(block(), read=[last(lm)], write={"mlp_out.0": fails})
    assert hooks(lm.model) == before
    read = lm.run(block(), read=[last(lm)])[last(lm)]
    fresh = LanguageModel(lm.model, lm.tokeniser, name="fresh")
    assert torch.equal(read, fresh.run(block(), read=[last(lm)])[last(lm)])


@everywhere
def test_a_null_write_changes_nothing(family: str):
    lm = language_model(family)
    plain = lm.run(block(), read=[last(lm)])[last(lm)]
    nothing = {str(s): lambda x: x for s in lm.sites()}
    assert torch.equal(lm.run(block(), read=[last(lm)], write=nothing)[last(lm)], plain)
    copies = {str(s): lambda x: x.clone() for s in lm.sites()}
    assert torch.equal(lm.run(block(), read=[last(lm)], write=copies)[last(lm)], plain)


@everywhere
def test_every_write_arrives(family: str):
    """The site reads as written, and what comes after it changes."""
    lm = language_model(family)
    plain = lm.run(block(), read=[last(lm)])[last(lm)]
    noise = torch.Generator().manual_seed(1)
    for site in lm.sites():
        new = torch.randn(3, 12, lm.width(site), generator=noise)
        at = lm.run(block(), read=[site, last(lm)], write={site: lambda x, new=new: new})
        assert torch.equal(at[str(site)], new)
        assert not torch.allclose(at[last(lm)], plain)


@everywhere
def test_zeroed_mlp_equals_a_model_without_it(family: str):
    lm = language_model(family)
    layer = lm._sites.layout.layers[1]  # type: ignore[union-attr]
    ablated = copy.deepcopy(lm.model)
    ablated.get_submodule(layer.places["mlp_out"].path).forward = lambda x: torch.zeros(3, 12, lm.width("mlp_out.1"))  # type: ignore[method-assign]
    written = lm.run(block(), read=[last(lm)], write={"mlp_out.1": torch.zeros_like})[last(lm)]
    output = ablated(input_ids=block().tokens)
    assert torch.equal(written, output.logits if lm.has_head else output.last_hidden_state)


@sequential
def test_a_write_to_the_middle_of_a_block_reaches_both_its_readers(family: str):
    """Adding to ``resid_mid`` is adding to ``attn_out`` (post-norm blocks: to what the norm makes of the sum)."""
    lm = language_model(family)
    if family in ENCODERS:
        zero = lm.run(block(), read=["resid_post.0"], write={"resid_mid.0": torch.zeros_like})["resid_post.0"]
        parts = lm.model.encoder.layer[0]
        close(zero, parts.output(parts.intermediate(torch.zeros_like(zero)), torch.zeros_like(zero)))
        return
    push = torch.linspace(-1, 1, lm.width("embed"))
    a = lm.run(block(), read=["resid_post.0"], write={"resid_mid.0": lambda x: x + push})["resid_post.0"]
    b = lm.run(block(), read=["resid_post.0"], write={"attn_out.0": lambda x: x + push})["resid_post.0"]
    close(a, b)


@everywhere
def test_gradients_flow_when_asked_for(family: str):
    lm = language_model(family)
    for kind in ("resid_pre", "attn_out", "resid_mid", "mlp_in", "mlp_out"):
        if kind == "resid_mid" and family in PARALLEL:
            continue
        push = torch.zeros(lm.width(f"{kind}.1"), requires_grad=True)
        out = lm.run(block(), read=[last(lm)], write={f"{kind}.1": lambda x, push=push: x * (1 + push) + push * x * x})
        (grad,) = torch.autograd.grad(out[last(lm)].square().sum(), push)
        assert grad.abs().sum() > 0
        with torch.no_grad():
            assert not lm.run(block(), read=["embed"])["embed"].requires_grad


def test_gradient_through_the_middle_is_right():
    """The write into the shared tensor is differentiated like any other: compare with finite differences."""
    lm = language_model("llama")

    def loss(push: Tensor) -> Tensor:
        out = lm.run(block(), read=["resid_post.2"], write={"resid_mid.1": lambda x: x * (1 + push)})["resid_post.2"]
        return out.double().sum()

    push = torch.zeros(lm.width("embed"), requires_grad=True)
    (grad,) = torch.autograd.grad(loss(push), push)
    step = 1e-2 * torch.eye(len(push))
    with torch.no_grad():
        numeric = torch.stack([(loss(s) - loss(-s)) / 2e-2 for s in step])
    torch.testing.assert_close(grad.double(), numeric, rtol=2e-2, atol=2e-2 * float(grad.abs().max()))


@everywhere
@settings(max_examples=5, deadline=None)
@given(padding=st.integers(1, 11), seed=st.integers(0, 100))
def test_padding_changes_no_token(family: str, padding: int, seed: int):
    lm = language_model(family)
    padded = block(padding=padding, seed=seed)
    alone = TokenBlock(
        padded.tokens[-1:, :-padding], padded.documents[-1:, :-padding], padded.positions[-1:, :-padding]
    )
    read = lm.run(padded, read=[last(lm)])[last(lm)]
    assert torch.isfinite(read).all()
    close(read[-1:, :-padding], lm.run(alone, read=[last(lm)])[last(lm)])


@decoders
def test_the_future_is_not_seen(family: str):
    """What lets causal models do without a mask."""
    lm = language_model(family)
    a = block()
    tokens = a.tokens.clone()
    tokens[:, 8:] = 7
    b = TokenBlock(tokens, a.documents, a.positions)
    close(lm.run(a, read=["logits"])["logits"][:, :8], lm.run(b, read=["logits"])["logits"][:, :8])


@pytest.mark.parametrize("family", ["gpt2", "gpt2-tied-padded", "llama"])
def test_left_padding_is_masked(family: str):
    lm = language_model(family)
    a = block(n=1, seed=3)
    documents = a.documents.clone()
    documents[:, :4] = PADDING
    other = a.tokens.clone()
    other[:, :4] = 9
    reads = [lm.run(TokenBlock(t, documents, a.positions), read=["logits"])["logits"][:, 4:] for t in (a.tokens, other)]
    close(reads[0], reads[1])


def test_reading_nothing_runs_the_whole_model():
    lm = language_model("gpt2")
    seen: list[Tensor] = []
    assert lm.run(block(), write={"resid_post.2": lambda x: seen.append(x) or x}) == {}
    assert torch.equal(seen[0], lm.run(block(), read=["resid_post.2"])["resid_post.2"])


def test_inference_mode_reads_and_writes_too():
    lm = language_model("gpt2")
    wanted = lm.run(block(), read=["logits"], write={"resid_mid.0": torch.sin})["logits"]
    with torch.inference_mode():
        assert torch.equal(lm.run(block(), read=["logits"], write={"resid_mid.0": torch.sin})["logits"], wanted)


def test_sites_at_one_place_share_it():
    at = language_model("gpt2").run(block(), read=["embed", "resid_pre.0", "embed"], write={"embed": lambda x: x + 1})
    assert torch.equal(at["embed"], at["resid_pre.0"])


@pytest.mark.parametrize("site", ["resid_pre.1", "resid_mid.0"])
def test_a_write_in_place_is_refused(site: str):
    with pytest.raises(MonoscopeError, match="in place"):
        language_model("gpt2").run(block(), read=["logits"], write={site: lambda x: x.mul_(2)})


@pytest.mark.parametrize(
    ("function", "message"), [(lambda x: x[..., :3], r"\(3, 12, 3\)"), (lambda x: None, "NoneType")]
)
def test_a_write_of_another_shape_is_refused(function, message):
    with pytest.raises(MonoscopeError, match=message):
        language_model("gpt2").run(block(), read=["logits"], write={"mlp_out.0": function})


def test_a_write_may_not_run_its_own_model():
    lm = language_model("gpt2")
    with pytest.raises(MonoscopeError, match="ran the model"):
        lm.run(
            block(), read=["logits"], write={"mlp_out.0": lambda x: lm.run(block(), read=["mlp_out.0"])["mlp_out.0"]}
        )
    lm.run(block(), read=["logits"])


def test_threads_do_not_see_each_other():
    lm = language_model("gpt2")
    blocks = [block(seed=i) for i in range(8)]
    wanted = [lm.run(b, read=["mlp_act.1"])["mlp_act.1"] for b in blocks]
    found: dict[int, Tensor] = {}

    def work(i: int) -> None:
        for _ in range(5):
            found[i] = lm.run(blocks[i], read=["mlp_act.1"])["mlp_act.1"]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[i], wanted[i]) for i in range(8))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.full((1, 4), VOCABULARY), r"token 300 .*0 to 299"),
        (torch.full((1, 4), -1), "token -1"),
        (torch.ones(1, CONTEXT + 1, dtype=torch.long), "too long"),
        (torch.ones(0, 4, dtype=torch.long), "no tokens"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(tokens: Tensor, message: str):
    bad = TokenBlock(tokens, torch.zeros_like(tokens), torch.zeros_like(tokens))
    with pytest.raises(MonoscopeError, match=message):
        language_model("gpt2").run(bad, read=["logits"])


def test_what_is_no_block_and_no_list_of_sites_is_refused():
    lm, tokens = language_model("gpt2"), torch.ones(1, 4, dtype=torch.long)
    where = torch.zeros_like(tokens)
    for wrong, message in (
        (tokens, "a Tensor is no block of tokens"),
        (TokenBlock(tokens.float(), where, where), "a block of torch.float32"),
        (TokenBlock(tokens, where[:, :2], where), "parts of shapes"),
    ):
        with pytest.raises(MonoscopeError, match=message):
            lm.run(wrong, read=["logits"])
    with pytest.raises(MonoscopeError, match="logits alone is no list of sites"):
        lm.run(TokenBlock(tokens, where, where), read="logits")


def test_a_write_that_is_never_reached_is_an_error():
    with pytest.raises(MonoscopeError, match=r"never reaches transformer\.h:out"):
        language_model("gpt2").run(block(), write={"transformer.h:out": lambda x: x})


def norm_scale(x: Tensor, centred: bool) -> Tensor:
    """What a norm divides by."""
    return (x - x.mean(-1, keepdim=True) if centred else x).square().mean(-1, keepdim=True).sqrt()


@decoders
def test_unembedding_is_the_derivative_of_the_logits_with_the_norms_scale_frozen(family: str):
    lm = language_model(family)
    deepest = f"resid_post.{lm.model.config.num_hidden_layers - 1}"
    unembedding = lm.unembedding()
    assert unembedding is not None and unembedding.shape == (lm.width("embed"), VOCABULARY)
    centred = bool(unembedding.mean(0).abs().max() < 1e-6)
    final = lm._sites.layout.final_norm  # type: ignore[union-attr]
    assert final is not None
    head = lm.model.get_output_embeddings()
    x = lm.run(block(), read=[deepest])[deepest]
    step = 0.1 * torch.randn(len(unembedding), generator=torch.Generator().manual_seed(2))
    moved = x + step
    ratio = norm_scale(moved, centred) / norm_scale(x, centred)  # un-normalise: put the frozen scale back
    at_zero = head(final(torch.zeros_like(x)))
    linear = (head(final(moved)) - at_zero) * ratio - (head(final(x)) - at_zero)
    torch.testing.assert_close(
        linear * norm_scale(x, centred), (step @ unembedding).expand_as(linear), rtol=1e-3, atol=1e-3
    )


@everywhere
def test_to_residual_predicts_what_a_push_adds(family: str):
    """Pushing a site moves what it adds to by ``push @ to_residual``; behind a norm, up to each token's scale."""
    lm = language_model(family)
    layout = lm._sites.layout
    assert layout is not None
    for site in lm.sites():
        matrix = lm.to_residual(site)
        if site.kind in ("logits", "mlp_in"):
            assert matrix is None
            continue
        assert matrix is not None and matrix.shape == (lm.width(site), lm.width("embed"))
        if site.kind != "mlp_act":
            assert torch.equal(matrix, torch.eye(len(matrix)))
            continue
        push = torch.randn(lm.width(site), generator=torch.Generator().manual_seed(3))
        out = f"mlp_out.{site.layer}"
        down = layout.layers[site.layer].down_norm  # type: ignore[index]
        if down is None:
            a = lm.run(block(), read=[out])[out]
            b = lm.run(block(), read=[out], write={site: lambda x, push=push: x + push})[out]
            close(b - a, (push @ matrix).expand_as(a))
        else:  # a norm of nothing but the push: the direction is the matrix's
            b = lm.run(block(), read=[out], write={site: lambda x, push=push: push.expand_as(x)})[out]
            cosine = nn.functional.cosine_similarity(b, (push @ matrix).expand_as(b), dim=-1)
            close(cosine, torch.ones_like(cosine))


def test_module_paths_at_a_named_place_have_its_map():
    lm = language_model("gpt2")
    assert torch.equal(lm.to_residual("transformer.h.1.mlp.c_proj:in"), lm.to_residual("mlp_act.1"))  # type: ignore[arg-type]
    assert lm.to_residual("transformer.h.1.ln_1:out") is None


def test_an_encoder_has_no_unembedding():
    assert language_model("bert").unembedding() is None


def test_roberta_counts_positions_from_its_padding():
    assert language_model("roberta").context == CONTEXT
    assert language_model("bert").context == CONTEXT
