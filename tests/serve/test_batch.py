"""Batches that rows join and leave give the logits that each row's sequence has alone."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from serve_world import CONFIGS, VOCABULARY, prompts, random_model

from monoscope.errors import MonoscopeError
from monoscope.serve.batch import Passes

families = pytest.mark.parametrize("family", CONFIGS)


@families
def test_rows_come_and_go_and_say_what_they_say_alone(family: str) -> None:
    lm = random_model(family)
    passes, generator = Passes(lm.model, 0), torch.Generator().manual_seed(3)

    def check(held: list[list[int]], logits: torch.Tensor) -> None:
        for row, tokens in enumerate(held):
            alone = lm.model(input_ids=torch.tensor([tokens])).logits[0, -1]
            torch.testing.assert_close(logits[row], alone, rtol=1e-4, atol=1e-4)

    with torch.inference_mode():
        held = [list(p) for p in prompts(4)]
        batch, logits = passes.read(held)
        check(held, logits)
        for step in range(12):
            new = torch.randint(1, VOCABULARY, (len(held),), generator=generator).tolist()
            logits = passes.step(batch, new)
            held = [[*h, t] for h, t in zip(held, new, strict=True)]
            check(held, logits)
            if step == 3:
                rows = [2, 0, 2]
                batch.keep(rows)
                held = [held[r] for r in rows]
            if step == 6:
                more = [list(p) for p in prompts(2, longest=20, seed=5)]
                others, logits = passes.read(more)
                check(more, logits)
                batch.join(others)
                held += more
        assert batch.mask.sum(1).tolist() == [len(h) for h in held]
        assert batch.mask.shape[1] == max(map(len, held))  # no column that nobody needs


def test_a_model_with_another_kind_of_state_is_refused() -> None:
    config = hf.MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4)
    made = hf.AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(MonoscopeError, match="cannot be batched"):
        Passes(made, 0)
