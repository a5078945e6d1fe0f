-- The MLP's learning rates where it trains a hundred epochs and more, chosen on the validation split by
-- experiments/search_long.lua (results/search/): the best of ten epochs need not last.
return {
  bp_fp32 = { learning_rate = 0.05 },
  bp_int8 = { learning_rate = 0.05 },
  bp_ui8 = { learning_rate = 0.05 },
  bp_gdai8 = { learning_rate = 0.05 },
  ff_int8_tuned = { learning_rate = 2e-4 },
  ff_int8_paper = { learning_rate = 0.8 },
  ff_int8_one_pass = { learning_rate = 2.5e-4 },
}
