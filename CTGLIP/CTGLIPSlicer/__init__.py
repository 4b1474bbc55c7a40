"""What the CT-GLIP module is made of; CTGLIP.py beside this folder is only its entry."""
