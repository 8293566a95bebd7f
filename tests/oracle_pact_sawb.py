"""Checks of the oracles of PACT and SAWB."""

import numpy as np
import torch

from xnorloom.sw.quantizers.pact import PactActivation
from xnorloom.sw.quantizers.sawb import IBM_COEFFICIENTS, SawbWeight, sawb_clip

# Levels that IBM's codes of a coefficient pair stand for.
CODED_LEVELS = {"102": 4, "103": 3, "403": 15, "703": 127, "803": 255}


def assert_codes_equal(ours, peers, exact, doubt):
    """Equal codes, except where the exact value is so near a half that float32 may round it the
    other way; on the half itself, the rule decides. Returns which are equal."""
    gap = np.abs(exact % 1 - 0.5)
    unsure = (gap > 0) & (gap < doubt)
    apart = np.abs(np.rint(ours) - np.rint(peers))
    assert (apart <= unsure).all()
    return apart == 0


def check_pact(case):
    x, g = case["x"], case["g"]
    for name in case.matching(r"(peer_pact(plus)?_b(\d)(?:_a([\d.]+))?)_y"):
        bits, plus = int(name[3]), bool(name[2])
        quantizer = PactActivation(bits, float(name[4] or case["alpha"]), plus=plus)
        alpha = float(quantizer.alpha.detach())
        step = alpha / (2 ** bits - 1)
        inputs = torch.from_numpy(x).requires_grad_()
        values = quantizer(inputs)
        values.backward(torch.from_numpy(g))
        ours, peers = values.detach().numpy(), case[name[0]]
        same = assert_codes_equal(ours / step, peers / step,
                                  x.clip(0, alpha).astype(float) / step, 1e-6 * 2 ** bits)
        np.testing.assert_allclose(ours[same], peers[same], rtol=1e-5)
        # At x = alpha the peer's PACT hands the gradient to both; ours gives it to alpha alone.
        wanted = np.where(x == np.float32(alpha), 0, case[f"{name[1]}_dx"])
        np.testing.assert_allclose(inputs.grad, wanted, rtol=1e-5)
        # PACT+ looks at the code, so one that was rounded the other way counts.
        inside = (x > 0) & (x < alpha)
        other = (g * (ours - peers))[inside & ~same].sum() / alpha if plus else 0.0
        np.testing.assert_allclose(quantizer.alpha.grad - other, case[f"{name[1]}_dalpha"].item(),
                                   rtol=1e-5, atol=1e-6 * np.abs(g).sum())


def check_sawb(case):
    check_lines(case)
    weight, g = torch.from_numpy(case["w"]), torch.from_numpy(case["g"])
    for name in case.matching(r"(peer_b(\d)_az([01])_plus([01]))_wq"):
        bits, zero_aligned, plus = int(name[2]), name[3] == "1", name[4] == "1"
        # The peer's module takes max |w| for 256 levels, as ours does by default.
        pair = None if bits == 8 and not zero_aligned else IBM_COEFFICIENTS[2**bits - zero_aligned]
        quantizer = SawbWeight(bits, zero_aligned=zero_aligned, plus=plus, coefficients=pair)
        inputs = weight.clone().requires_grad_()
        quantizer(inputs).backward(g)
        peer_clip, peer_dw = case[f"{name[1]}_clip"], torch.from_numpy(case[f"{name[1]}_dw"])
        check_values(quantizer, weight, peer_clip, case[name[0]])
        # A negative clip keeps every gradient from the peer's weights, ours is max |w| then.
        wanted = peer_dw if peer_clip >= 0 else g
        clip = sawb_clip(weight, pair)
        at_clip = (clip > 0) & ((weight.abs() / clip - 1).abs() < 1e-5)
        assert torch.equal(inputs.grad[~at_clip | plus], wanted[~at_clip | plus])
    for name in case.matching(r"(peer_b(\d)_perch)_raised"):
        bits = int(name[2])
        quantizer = SawbWeight(bits, zero_aligned=True, plus=True, per_channel=True,
                               coefficients=IBM_COEFFICIENTS[2 ** bits - 1])
        if case[name[0]]:
            assert torch.isfinite(quantizer(weight)).all()
        else:
            check_values(quantizer, weight, case[f"{name[1]}_clip"], case[f"{name[1]}_wq"])


def check_lines(case):
    """``c1 * rms + c2 * mean|w|``, of a tensor and of every channel."""
    weight = torch.from_numpy(case["w"])
    rows = case["w"].astype(float).reshape(len(weight), -1)
    statistics = {None: (case["ref_rms"], case["ref_meanabs"]),
                  "ch": (np.sqrt((rows ** 2).mean(axis=1)), np.abs(rows).mean(axis=1))}
    for name in case.matching(r"peer_clip(ch)?_(?:b|code)(\d+)"):
        c1, c2 = IBM_COEFFICIENTS[CODED_LEVELS.get(name[2]) or 2 ** int(name[2])]
        rms, mean = statistics[name[1]]
        line = c1 * rms + c2 * mean
        # Float32 loses digits where the two terms cancel.
        np.testing.assert_allclose(case[name[0]], line, rtol=1e-5, atol=1e-6 * c1 * np.max(rms))
        ours = sawb_clip(weight, (c1, c2), per_channel=bool(name[1])).numpy()
        largest = np.abs(rows).max(axis=1 if name[1] else None)
        np.testing.assert_allclose(ours, np.where(line > 0, line, largest), rtol=1e-9)


def check_values(quantizer, weight, peer_clip, peer_values):
    """Codes and clip; where the peer's clip is not positive, ours only has to be the nearer one."""
    ours, exact = quantizer(weight).double().numpy(), weight.double().numpy()
    clip = sawb_clip(weight, quantizer.coefficients, per_channel=quantizer.per_channel).numpy()
    usable = peer_clip > 0
    np.testing.assert_allclose(clip[usable], peer_clip[usable], rtol=1e-5,
                               atol=1e-5 * np.abs(exact).max())
    shape = -1, *[1] * (exact.ndim - 1)
    used = np.broadcast_to(usable.reshape(shape), exact.shape)
    clip, peer_clip = [np.broadcast_to(each.reshape(shape), exact.shape)[used].astype(float)
                       for each in (clip, peer_clip)]

    def codes(values, top):
        return ((values[used] / top).clip(-1, 1) + 1) / 2 * (quantizer.levels - 1)

    assert_codes_equal(codes(ours, clip), codes(peer_values, peer_clip), codes(exact, clip),
                       quantizer.levels * (1e-6 + np.abs(peer_clip / clip - 1)))
    assert np.isfinite(ours).all()
    nearer = np.abs(ours - exact) <= np.abs(np.nan_to_num(peer_values, nan=np.inf) - exact)
    assert nearer[~used].all()


CHECKS = {"pact": check_pact, "sawb": check_sawb}
