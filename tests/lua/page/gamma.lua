-- For tests/test_page.c: an experiment without the profile that is asked for.
return experiment {
  name = "gamma",
  title = "Gamma",
  profiles = { paper = { epochs = 1 } },
  models = { mlp = { dataset = "synthetic_digits" } },
  algorithms = { { "bp_fp32" } },
}
