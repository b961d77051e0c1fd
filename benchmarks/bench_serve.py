"""How fast `monoscope serve` answers, beside plain `generate` at the same batch: tokens a second, in turns.

    python benchmarks/bench_serve.py [--model reference-a] [--clients 1,8,64] [--tokens 128] [--rounds 5]
                                     [--run RUN --features 8] [--rules RULES]

The clients are another process, which streams over loopback and reads every token; it shares the machine with the
server. Every round times both, so that ratios hold on a machine that does other things.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

TEXT = ["import os\n", "def area(", "class Shape:\n    def", "for i in range("]


def main() -> None:
    """Time each number of clients."""
    given = argparse.ArgumentParser()
    given.add_argument("--model", default="reference-a")
    given.add_argument("--clients", default="1,8,64")
    given.add_argument("--tokens", type=int, default=128)
    given.add_argument("--rounds", type=int, default=5)
    given.add_argument("--run", type=Path)
    given.add_argument("--rules", type=Path)
    given.add_argument("--features", type=int, default=0)
    given.add_argument("--ask", help="(used by the program itself) the address to ask")
    options = given.parse_args()
    if options.ask:
        asyncio.run(clients(options))
    else:
        measure(options)


def measure(options: Any) -> None:
    """Serve in this process, and ask from another."""
    import torch

    from monoscope.app.run import Run
    from monoscope.app.serving import Served, Watched, application, service
    from monoscope.app.ui.server import free_socket
    from monoscope.models import load_model
    from monoscope.watch import rules

    listener = free_socket("127.0.0.1", 0)
    watched = None if options.rules is None else Watched(rules.load(options.rules))
    run = None if options.run is None else Run(options.run)
    made = service(Served(load_model(options.model), "model", run, watched=watched))
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(application(made, None), log_level="error", access_log=False))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    lm = load_model(options.model)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    print(f"{torch.get_num_threads()} threads, {options.tokens} new tokens each, {options.rounds} rounds")
    for n in map(int, options.clients.split(",")):
        rows = []
        for _ in range(options.rounds + 1):
            rows.append((generated(lm, n, options.tokens), asked(options, address, n)))
        plain, served = zip(*rows[1:], strict=True)
        ratios = [s / p for p, s in zip(plain, served, strict=True)]
        told = (
            f"{n:3d} clients: generate {statistics.median(plain):.0f} tokens/s, served {statistics.median(served):.0f}"
        )
        print(f"{told}, ratio {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]", flush=True)
    server.should_exit = True


def generated(lm: Any, n: int, tokens: int) -> float:
    """Tokens a second of one batch."""
    import torch

    prompts = [[*lm.tokeniser.prefix, *lm.tokeniser.text(TEXT[i % len(TEXT)]).tokens.tolist()] for i in range(n)]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    began = time.perf_counter()
    with torch.inference_mode():
        lm.model.generate(
            ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0
        )
    return n * tokens / (time.perf_counter() - began)


def asked(options: Any, address: str, n: int) -> float:
    """Tokens a second that clients in another process got."""
    command = [sys.executable, __file__, "--ask", address, "--clients", str(n), "--tokens", str(options.tokens)]
    done = subprocess.run([*command, "--features", str(options.features)], capture_output=True, text=True, check=True)
    return float(done.stdout)


async def clients(options: Any) -> None:
    """Stream as many answers at once as there are clients; print the tokens a second."""
    n, port = int(options.clients), int(options.ask.rsplit(":", 1)[1])
    began = time.perf_counter()
    counts = await asyncio.gather(*(one(port, i, options) for i in range(n)))
    print(sum(counts) / (time.perf_counter() - began))


async def one(port: int, i: int, options: Any) -> int:
    """Ask, read every event, and count tokens."""
    body = json.dumps({
        "model": "model", "prompt": TEXT[i % len(TEXT)], "max_tokens": options.tokens, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True}, **({"features": options.features} if options.features else {}),
    }).encode()  # fmt: skip
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = ["POST /v1/completions HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    head += [f"Content-Length: {len(body)}", "Connection: close"]
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
    counted = 0
    async for line in reader:
        if line.startswith(b"data: {"):
            usage = json.loads(line[6:])["usage"]
            counted = usage["completion_tokens"] if usage else counted
    writer.close()
    return counted


if __name__ == "__main__":
    main()
