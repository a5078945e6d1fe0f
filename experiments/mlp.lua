-- How far each algorithm gets on the MLP: backpropagation and one-pass in 10 epochs, forward-forward in 30. Runs that
-- Table V has made already are read from their records. The learning rates were searched at 10 epochs.
local accuracies = require "lib.accuracies"
local networks = require "networks"
local rows = require "rows"

local in_full = { epochs = 10, seeds = { 1, 2, 3 },
  algorithms = { ff_int8_tuned = { epochs = 30 }, ff_int8_paper = { epochs = 30 } } }

return experiment {
  name = "mlp",
  title = "Accuracy of the MLP",
  models = { mlp = networks.mlp() },
  algorithms = {
    rows.bp_fp32, rows.bp_int8, rows.bp_ui8, rows.bp_gdai8,
    rows.ff_int8_tuned, rows.ff_int8_paper, rows.ff_int8_one_pass,
  },
  defaults = require "tuned",
  profiles = {
    smoke = { epochs = 1, train_limit = 2000, eval_limit = 1000, seeds = { 1 }, algorithms = { ff_int8 = { epochs = 2 } } },
    quick = in_full,
    paper = in_full,
    reference = "quick",
  },
  report = accuracies,
  gates = {
    quick = {
      { row = "bp_fp32", dataset = "mnist", metric = "accuracy", at_least = 98.0 },
      { rows = { "bp_ui8", "bp_gdai8" }, dataset = "mnist", metric = "accuracy", at_least = 97.7 },
      { row = "ff_int8_tuned", dataset = "mnist", metric = "accuracy", at_least = 97.5 },
      { row = "ff_int8_one_pass", dataset = "mnist", metric = "accuracy", at_least = 98.3 },
    },
  },
}
