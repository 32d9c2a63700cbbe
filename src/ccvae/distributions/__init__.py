"""Densities and integrals: likelihoods, tilted Normal distributions and logistic-Normal integrals."""
