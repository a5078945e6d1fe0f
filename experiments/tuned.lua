-- Options of each algorithm on each network. Those of the MLP were chosen by `make search` on the validation split,
-- eight learning rates for each algorithm (results/search/, which also says what that budget leaves out). An entry is
-- named like a row of an experiment or like an algorithm; what is not listed keeps its default.
local function networks(rate)
  return {
    bp_fp32 = { learning_rate = rate },
    bp_int8 = { learning_rate = rate },
    bp_ui8 = { learning_rate = rate },
    bp_gdai8 = { learning_rate = rate },
    ff_int8_tuned = { learning_rate = 0.1, goodness = "mean_squares", theta = 1, label = "pattern",
      pattern_amplitude = 1 },
    ff_int8_paper = { learning_rate = 1e-4 },
    ff_int8_one_pass = { learning_rate = 0.2, optimiser = "sgd", momentum = 0, input_rounding = "nearest",
      gradient_rounding = "nearest" },
  }
end

return {
  mlp = {
    bp_fp32 = { learning_rate = 0.1 },
    bp_int8 = { learning_rate = 0.05 },
    bp_ui8 = { learning_rate = 0.05 },
    bp_gdai8 = { learning_rate = 0.05 },
    ff_int8_tuned = { learning_rate = 4e-4 },
    ff_int8_paper = { learning_rate = 0.8 },
    ff_int8_one_pass = { learning_rate = 1e-3 },
  },
  -- Not searched yet: a first look at 8,000 records of CIFAR-10, three epochs, on the validation split. The list of
  -- candidates is experiments/search_convolutional.lua.
  resnet18 = networks(0.02),
  mobilenet_v2 = networks(0.03),
  efficientnet_b0 = networks(0.03),
}
