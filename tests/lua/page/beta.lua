-- For tests/test_page.c: an experiment that was not run.
return experiment {
  name = "beta",
  title = "Beta",
  profiles = { smoke = { epochs = 1, batch = 50, synthetic_train = 700, synthetic_test = 200 } },
  models = { mlp = { dataset = "synthetic_digits", options = { hidden = { 8 } } } },
  algorithms = { { "bp_fp32" } },
}
