"""Fine-tuning of pretrained backbones to segment and detect tumours."""
