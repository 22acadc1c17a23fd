//! Ranking of applications by transaction frequency and data sensitivity, with the reasons shown.
