"""Access tokens in and out: who is onboarded, what is signed, and whom a token stands for."""
