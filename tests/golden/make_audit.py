"""Makes audit_reference.safetensors: what scikit-learn, scipy and numpy say of the statistics in unlearn/.

    python make_audit.py [OUT]

OUT is the folder to write to (this one). Needs numpy, scipy, scikit-learn and safetensors. All numbers are drawn here;
inputs are in the file beside the results, as F64.
"""

import sys
from pathlib import Path

import numpy as np
import scipy
import sklearn
from safetensors.numpy import save_file
from scipy import special, stats
from scipy.spatial import distance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

out = {}


def put(name, value):
    a = np.asarray(value)
    kind = np.int32 if a.dtype.kind in "iub" else np.float64
    out[name] = np.ascontiguousarray(np.atleast_1d(a).astype(kind))


def softmax(z):
    return special.softmax(z, axis=1)


def modified_entropy(p, y):
    """Song and Mittal 2021, with their bound on what is inside a logarithm."""
    rows = np.arange(len(y))
    log_p, log_rest = -np.log(np.maximum(p, 1e-30)), -np.log(np.maximum(1 - p, 1e-30))
    terms = p * log_rest
    terms[rows, y] = (1 - p[rows, y]) * log_p[rows, y]
    return terms.sum(1)


def membership(rng):
    """Logits of a classifier that knows what it was trained on: retained surely, forgotten less, test least."""
    classes = 5
    parts = {"retained": (700, 3.0), "test": (400, 1.2), "forgotten": (150, 2.0)}
    feature = {}
    for name, (n, gain) in parts.items():
        y = rng.integers(0, classes, n)
        z = rng.normal(0, 1.5, (n, classes))
        z[np.arange(n), y] += gain * rng.gamma(2.0, 0.7, n)
        p = softmax(z)
        put(f"svc.{name}.logit", z)
        put(f"svc.{name}.label", y)
        phi = z[np.arange(n), y] - np.array([special.logsumexp(np.delete(r, k)) for r, k in zip(z, y)])
        feature[name] = {
            "confidence": p[np.arange(n), y][:, None],
            "correctness": (p.argmax(1) == y)[:, None].astype(float),
            "entropy": stats.entropy(p, axis=1)[:, None],
            "modified entropy": modified_entropy(p, y)[:, None],
            "probability": p,
        }
        put(f"svc.{name}.phi", phi)
        for k in ("entropy", "modified entropy"):
            put(f"svc.{name}.{k}", feature[name][k][:, 0])
    efficacy, shadow = [], []
    for k in feature["test"]:
        test = feature["test"][k]
        member = feature["retained"][k][: len(test)]
        x, y = np.concatenate([member, test]), np.repeat([1.0, 0.0], len(test))
        svc = SVC(C=3, gamma="auto", kernel="rbf").fit(x, y)
        efficacy.append(100 * (1 - svc.predict(feature["forgotten"][k]).mean()))
        shadow.append(100 * svc.score(x, y))
    put("svc.efficacy", efficacy)
    put("svc.shadow", shadow)


def outputs(rng):
    """Two models' probabilities on the same samples."""
    p, q = softmax(rng.normal(0, 2, (40, 6))), softmax(rng.normal(0, 1, (40, 6)))
    put("pair.p", p)
    put("pair.q", q)
    js = np.array([distance.jensenshannon(a, b) ** 2 for a, b in zip(p, q)])
    put("pair.js", js)
    put("pair.zrf", 1 - js.mean())
    put("pair.activation_distance", np.linalg.norm(p - q, axis=1).mean())


def two_samples(rng):
    cases = [
        (rng.normal(0, 1, 60), rng.normal(0.5, 1, 80)),
        (rng.normal(0, 1, 300), rng.normal(0, 1, 200)),
        (rng.integers(0, 6, 50).astype(float), rng.integers(1, 7, 70).astype(float)),
        (rng.normal(0, 1, 400), rng.normal(2, 1, 400)),
        (rng.normal(0, 1, 9), rng.normal(0, 1, 7)),
    ]
    for i, (a, b) in enumerate(cases):
        d = stats.ks_2samp(a, b).statistic
        lo, hi = min(a.min(), b.min()), max(a.max(), b.max())
        h = [np.histogram(x, bins=20, range=(lo, hi))[0] for x in (a, b)]
        put(f"ks.{i}.a", a)
        put(f"ks.{i}.b", b)
        put(f"ks.{i}.d", d)
        put(f"ks.{i}.p", special.kolmogorov(d * np.sqrt(len(a) * len(b) / (len(a) + len(b)))))
        put(f"ks.{i}.exact", stats.ks_2samp(a, b, method="exact").pvalue)
        put(f"ks.{i}.js20", distance.jensenshannon(*h))
    x = np.array([0.05, 0.2, 0.5, 0.8, 1.0, 1.17, 1.19, 1.5, 2.0, 3.0, 5.0])
    put("kolmogorov.x", x)
    put("kolmogorov.tail", special.kolmogorov(x))


def wilson(hits, n, level):
    """statsmodels.stats.proportion.proportion_confint(method="wilson"), written out."""
    z, p = stats.norm.isf((1 - level) / 2), hits / n
    middle, width = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - width) / (1 + z * z / n), (middle + width) / (1 + z * z / n)


def intervals(rng):
    p = np.array([0.6, 0.9, 0.95, 0.975, 0.995, 0.9999, 0.025, 1e-6])
    freedom = np.array([1, 2, 3, 4, 9, 30, 199, 5000])
    put("t.p", p)
    put("t.freedom", freedom.astype(float))
    put("t.quantile", stats.t.ppf(p[None], freedom[:, None]))
    put("t.cdf_at_1.3", stats.t.cdf(1.3, freedom))
    put("normal.quantile", stats.norm.ppf(p))
    x = rng.normal(80, 2, 7)
    put("seeds.x", x)
    for level in (0.95, 0.9):
        put(f"seeds.{level}", stats.t.interval(level, len(x) - 1, x.mean(), stats.sem(x)))
    rows = [(0, 10), (1, 10), (5, 10), (10, 10), (37, 412), (9999, 10000)]
    put("wilson.of", np.array(rows))
    put("wilson.95", np.array([wilson(*r, 0.95) for r in rows]))
    put("wilson.99", np.array([wilson(*r, 0.99) for r in rows]))


def curve(name, score, member):
    fpr, tpr, _ = roc_curve(member, score, drop_intermediate=False)
    put(f"{name}.score", score)
    put(f"{name}.member", member.astype(int))
    put(f"{name}.auc", roc_auc_score(member, score))
    put(f"{name}.tpr", [tpr[fpr <= r + 1e-12].max() for r in (0.001, 0.01, 0.1)])
    put(f"{name}.best", (0.5 * (tpr + 1 - fpr)).max())
    put(f"{name}.balanced", balanced_accuracy_score(member, score > 0.25))


def curves(rng):
    member = rng.random(3000) < 0.4
    curve("roc.0", rng.normal(0, 1, 3000) + member, member)
    member = rng.random(400) < 0.5
    curve("roc.1", np.round(rng.normal(0, 1, 400) + 0.7 * member, 1), member)
    member = rng.random(60) < 0.5
    curve("roc.2", rng.integers(0, 4, 60).astype(float), member)


def lira(rng, name, models, examples, targets, pooled):
    x = rng.random((models + targets, examples)) < 0.5
    mean = rng.normal(2, 2, examples)
    phi = mean + 1.5 * x + rng.normal(0, 1, x.shape) * rng.uniform(0.5, 2, examples)
    shadow, have, target, member = phi[:models], x[:models], phi[models:], x[models:]
    put(f"{name}.phi", shadow)
    put(f"{name}.in", have.astype(int))
    put(f"{name}.target", target)
    fits = []
    for kind in (True, False):
        taken = np.ma.array(shadow, mask=have != kind)
        mean, squares = taken.mean(0), ((taken - taken.mean(0)) ** 2).sum(0)
        n = taken.count(0)
        spread = np.sqrt(squares.sum() / (n - 1).sum()) if pooled else np.sqrt(squares / (n - 1))
        fits.append((np.asarray(mean), np.asarray(spread)))
        put(f"{name}.least_{'in' if kind else 'out'}", n.min())
    online = stats.norm.logpdf(target, *fits[0]) - stats.norm.logpdf(target, *fits[1])
    put(f"{name}.online", online)
    put(f"{name}.offline_tail", stats.norm.cdf(target, *fits[1]))
    put(f"{name}.probability", special.expit(online))
    put(f"{name}.auc", roc_auc_score(member.ravel(), online.ravel()))
    put(f"{name}.member", member.astype(int))


def regression(rng, name, n, columns, classes, l2, standardise):
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    centre = rng.normal(0, 1, (classes, columns))
    x = (centre[y] + rng.normal(0, 1.2, (n, columns))) * rng.uniform(0.3, 5, columns) + rng.normal(0, 3, columns)
    z = StandardScaler().fit_transform(x) if standardise else x
    model = LogisticRegression(C=1 / l2, tol=1e-12, max_iter=100000, solver="newton-cholesky").fit(z, y)
    put(f"{name}.x", x)
    put(f"{name}.label", y)
    put(f"{name}.l2", l2)
    put(f"{name}.standardise", int(standardise))
    put(f"{name}.weight", model.coef_)
    put(f"{name}.bias", model.intercept_)
    put(f"{name}.prob", model.predict_proba(z))
    put(f"{name}.accuracy", model.score(z, y))


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    rng = np.random.default_rng(20240601)
    membership(rng)
    outputs(rng)
    two_samples(rng)
    intervals(rng)
    curves(rng)
    lira(rng, "lira.few", 16, 30, 3, True)
    lira(rng, "lira.many", 110, 12, 4, False)
    regression(rng, "logistic.0", 150, 6, 4, 1.0, True)
    regression(rng, "logistic.1", 120, 3, 2, 1.0, False)
    regression(rng, "logistic.2", 90, 8, 3, 0.1, True)
    regression(rng, "logistic.3", 100, 1, 2, 1.0, False)
    versions = f"scikit-learn {sklearn.__version__}, scipy {scipy.__version__}, numpy {np.__version__}"
    print(versions)
    path = folder / "audit_reference.safetensors"
    save_file(out, path, metadata={"versions": versions})  # one key: more come in no fixed order
    path.chmod(0o644)


if __name__ == "__main__":
    main()
