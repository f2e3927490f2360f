"""Augmentation: of Paper A (`simple`), of Paper B (`nnunet`), and of what a cascade's second network is given."""
