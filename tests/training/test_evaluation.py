"""What predictions say: errors, confusions, mistakes, ensembles."""

import pytest
import torch

from resnet_lesson import LessonError, Run
from resnet_lesson.training.evaluation import confusion_matrix, ensemble, predict, score

#                        answers:      0            1            0            2
LOGITS = torch.tensor([[3.0, 0, 0], [0, 1.0, 0], [9.0, 0, 0], [0, 0, 2.0]])
LABELS = torch.tensor([0, 2, 1, 1])  # the first alone is right


def test_the_score_is_mean_cross_entropy_and_share_of_wrong_answers():
    loss, error = score(LOGITS, LABELS)
    chances = LOGITS.softmax(1)[torch.arange(4), LABELS]
    assert loss == pytest.approx(float(-chances.log().mean())) and error == 0.75


def test_confusions_have_a_row_a_class_and_a_column_an_answer():
    assert confusion_matrix(LOGITS, LABELS).tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_an_ensemble_is_the_mean_of_probabilities_not_of_logits():
    # Two are unsure for class 0, one is sure of class 1: the mean of the logits would follow the loudest.
    networks = [torch.tensor([[1.0, 0]]), torch.tensor([[1.0, 0]]), torch.tensor([[0.0, 9]])]
    mean = ensemble(networks)
    assert torch.allclose(mean.sum(1), torch.ones(1))
    assert torch.allclose(mean, sum(logits.softmax(1) for logits in networks) / 3)
    assert ensemble(networks[:1]).tolist() == networks[0].softmax(1).tolist()


def test_predicting_is_in_evaluation_mode_and_leaves_the_modes_even_after_an_error():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    network[1].eval()
    images = torch.arange(8.0).reshape(2, 1, 2, 2)
    logits, labels = predict(network, [(images, torch.tensor([1, 0])), (images + 1, torch.tensor([3, 2]))])
    assert labels.tolist() == [1, 0, 3, 2] and not logits.requires_grad
    assert torch.allclose(logits[:2], images.flatten(1), atol=1e-4)  # BN by its running statistics: 0 and 1
    with pytest.raises(RuntimeError):
        predict(network, [(torch.zeros(2, 7), torch.tensor([1, 0]))])
    assert [module.training for module in network.modules()] == [True, True, False, True]


def test_recorded_predictions_keep_close_decisions_and_huge_logits_and_say_where_they_are_missing(tmp_path):
    run = Run(network={}, recipe={}, data={}, seed=0, precision="", threads=1, machine={}, folder=tmp_path)
    with pytest.raises(LessonError, match="recorded without predictions.*Copy it there"):
        run.predictions()
    close = torch.tensor([[20.0, 20.001, 0.0], [20.001, 20.0, 0.0], [1e6, -1e6, 0.0]])  # half precision alone: a tie
    run.save_predictions(close, torch.tensor([1, 0, 0]))
    logits, labels = run.predictions()
    assert logits.argmax(1).tolist() == labels.tolist() == [1, 0, 0]
    assert logits.isfinite().all() and logits.softmax(1)[2, 0] == 1
    (tmp_path / "predictions.safetensors").write_bytes(b"half a fi")
    with pytest.raises(LessonError, match="predictions.safetensors is damaged"):
        run.predictions()
