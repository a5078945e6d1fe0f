-- Options of each algorithm on each network. Those of the MLP were chosen by `make search` on the validation split,
-- eight learning rates for each algorithm (results/search/, which also says what that budget leaves out). An entry is
-- named like a row of an experiment or like an algorithm; what is not listed keeps its default.
local function network(backpropagation, tuned)
  return {
    bp_fp32 = { learning_rate = backpropagation },
    bp_int8 = { learning_rate = backpropagation },
    bp_ui8 = { learning_rate = backpropagation },
    bp_gdai8 = { learning_rate = backpropagation },
    ff_int8_tuned = { learning_rate = tuned, goodness = "mean_squares", theta = 1, label = "pattern",
      pattern_amplitude = 1 },
    ff_int8_paper = { learning_rate = 1e-4 },
    ff_int8_one_pass = { learning_rate = 0.2, optimiser = "sgd", momentum = 0, input_rounding = "nearest" },
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
  -- Four learning rates for each algorithm, experiments/search_convolutional.lua; how they were chosen is in
  -- results/search/README.md.
  resnet18 = network(0.01, 0.1),
  mobilenet_v2 = network(0.01, 0.03),
  efficientnet_b0 = network(0.003, 0.1),
}
