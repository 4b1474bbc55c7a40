"""Training of CT-GLIP models: simulator, two-stage pretraining, evaluation."""
