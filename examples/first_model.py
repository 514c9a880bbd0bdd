# %% [markdown]
# # A first model in Python
#
# `pip install "eigenline[estimators]"` and nothing else: no container, no account, no files but those below.

# %%
import tempfile
from pathlib import Path

from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split

import eigenline
from eigenline import PCA, LinearLearnerClassifier

data = load_breast_cancer()
labels = data.target_names[data.target]  # texts, as they are
X_train, X_test, y_train, y_test = train_test_split(data.data, labels, random_state=0)
print(f"{len(X_train)} records to train on, {len(X_test)} to measure on, {X_train.shape[1]} features")

# %% [markdown]
# ## Linear Learner
#
# It trains models of many strengths of regularisation at once, chooses among them by cross-validation, and
# calibrates the threshold. The parameters are SageMaker's; `help(LinearLearnerClassifier)` has them all.

# %%
model = LinearLearnerClassifier(seed=1).fit(X_train, y_train)
print(f"right on {model.score(X_test, y_test):.1%} of the records that did not train")
print(
    f"{len(model.models_)} models were trained; '{model.classes_[1]}' is predicted from {model.threshold_:.3f} on"
)

# %%
change = model.coef_[0] * X_train.std(axis=0)  # of the score, for one standard deviation of the feature
for place in abs(change).argsort()[::-1][:5]:
    print(f"{data.feature_names[place]:<24} {change[place]:+.1f}")

# %% [markdown]
# scikit-learn's own names are answered with ours.

# %%
try:
    LinearLearnerClassifier(C=1.0)
except TypeError as error:
    print(error)

# %% [markdown]
# ## Saved, and loaded
#
# The folder has SageMaker's layout: `eigenline serve` and a SageMaker endpoint answer requests with it. What AWS
# trained is loaded the same way: `eigenline.from_artifact("model.tar.gz")`.

# %%
with tempfile.TemporaryDirectory() as folder:
    eigenline.save(model, Path(folder) / "model")
    again = eigenline.load(Path(folder) / "model")
print(f"{again.classes_.tolist()}: {(again.predict(X_test) == model.predict(X_test)).mean():.0%} the same answers")

# %% [markdown]
# ## PCA

# %%
digits = load_digits().data
pca = PCA(num_components=10).fit(digits)
print(f"10 components of {digits.shape[1]} keep {pca.explained_variance_ratio_.sum():.1%} of the variance")
