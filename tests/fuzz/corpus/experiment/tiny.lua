return experiment {
  name = "tiny",
  title = "A tiny experiment",
  profiles = {
    smoke = { epochs = 1, batch = 50, synthetic_train = 700, synthetic_test = 200, seeds = { 1, 2 } },
    strict = { epochs = 1, batch = 50, synthetic_train = 700, synthetic_test = 200 },
  },
  models = {
    mlp = { dataset = "synthetic_digits", options = { hidden = { 16 } } },
  },
  algorithms = {
    { "bp_fp32", title = "FP32", learning_rate = 0.1 },
    { "bp_int8", title = "INT8" },
  },
  gates = {
    smoke = { { rows = { "bp_fp32", "bp_int8" }, finishes = true }, { row = "bp_fp32", metric = "accuracy", at_least = 1 } },
    strict = { { row = "bp_fp32", metric = "accuracy", at_least = 100.5 } },
  },
}
