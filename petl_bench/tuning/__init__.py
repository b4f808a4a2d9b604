"""Equal tuning: the same points of rates and weight decay for every row, chosen on the validation split."""
