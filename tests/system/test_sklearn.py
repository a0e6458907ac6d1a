"""scikit-learn's searches over a cluster: the same answers as without one, or one sentence that says what to set."""

import os
import warnings

import pytest

from discompute_lite import Cluster, register_joblib
from discompute_lite.model.errors import TaskRejected

joblib = pytest.importorskip("joblib")
sklearn = pytest.importorskip("sklearn")
pytestmark = pytest.mark.against

from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.parallel import Parallel, delayed  # noqa: E402

GRID = {"logisticregression__C": [0.01, 1.0, 100.0], "standardscaler__with_mean": [True, False]}


class Nearest(ClassifierMixin, BaseEstimator):
    """An estimator of one's own: the class of the nearest centre."""

    def __init__(self, power=2):
        self.power = power

    def fit(self, X, y):
        self.classes_ = sorted(set(y))
        self.centres_ = [X[y == each].mean(axis=0) for each in self.classes_]
        return self

    def predict(self, X):
        return [min(self.classes_, key=lambda each: (abs(row - self.centres_[each]) ** self.power).sum()) for row in X]


def settings_there(number):
    warnings.warn("said there", UserWarning, stacklevel=1)
    return sklearn.get_config()["assume_finite"], os.getpid()


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    """Return a maker of clusters by their setting; each is made once."""
    made = {}
    register_joblib()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("DISCOVERY", "peers"), ("SLOTS", "2"), ("BIND", "127.0.0.1")):
            patch.setenv("DISCOMPUTE_" + name, value)

        def of(allow_pickle):
            if allow_pickle not in made:
                patch.setenv("DISCOMPUTE_STATE_DIR", str(tmp_path_factory.mktemp("sklearn")))
                patch.setenv("DISCOMPUTE_ALLOW_PICKLE", allow_pickle)
                made[allow_pickle] = Cluster()
            return made[allow_pickle]

        yield of
        for cluster in made.values():
            cluster.shutdown(cancel_futures=True)


@pytest.fixture
def over(clusters):
    """Let joblib use a cluster that allows pickles."""
    with joblib.parallel_config(backend="discompute", cluster=clusters("true")):
        yield


def scores_of(search):
    return {name: values.tolist() for name, values in search.cv_results_.items()
            if name.startswith("split") or name in ("mean_test_score", "std_test_score", "rank_test_score")}


@pytest.mark.parametrize("words", [{}, {"scoring": ["accuracy", "f1_macro"], "refit": "accuracy"}])
def test_a_grid_search_finds_what_it_finds_alone(over, words):
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    search = GridSearchCV(pipeline, GRID, cv=3, **words).fit(X, y)
    with joblib.parallel_config(backend="sequential"):
        alone = GridSearchCV(pipeline, GRID, cv=3, n_jobs=1, **words).fit(X, y)
    assert search.best_params_ == alone.best_params_
    assert scores_of(search) == scores_of(alone) and len(scores_of(alone)) >= 4
    assert (search.predict(X) == alone.predict(X)).all()


def test_an_estimator_of_ones_own_brings_its_class(over):
    X, y = load_iris(return_X_y=True)
    there = cross_val_score(Nearest(), X, y, cv=3)
    with joblib.parallel_config(backend="sequential"):
        alone = cross_val_score(Nearest(), X, y, cv=3)
    assert there.tolist() == alone.tolist() and min(alone) > 0.5


def test_settings_and_filters_of_warnings_go_along(over):
    with sklearn.config_context(assume_finite=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="said there"):
            Parallel()(delayed(settings_there)(number) for number in range(2))
        warnings.simplefilter("ignore")
        found = Parallel()(delayed(settings_there)(number) for number in range(4))
    assert {is_finite for is_finite, _ in found} == {True} and os.getpid() not in {pid for _, pid in found}


def test_without_the_setting_the_refusal_is_one_sentence_that_names_it(clusters):
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), GRID)
    off = joblib.parallel_config(backend="discompute", cluster=clusters("false"))
    with off, pytest.raises(TaskRejected, match="set allow-pickle on both devices$") as refusal:
        search.fit(X, y)
    assert refusal.value.message.startswith("args[0] is a Pipeline; ") and "\n" not in refusal.value.message
