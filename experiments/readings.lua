-- Readings of what the paper leaves open, on MLPs: what each does and costs. Which make BP-INT8 collapse as in Table I, and
-- which look-ahead helps as in Figure 6. docs/readings.md has every open question with its option and default.
local networks = require "networks"
local readings = require "lib.readings"
local tuned = require("tuned").mlp

local high_rate = 10 * tuned.bp_int8.learning_rate

-- One row for each reading: what it sets, beside the options that the search chose.
local int8 = {
  { "absmax", "INT8: each tensor's largest value (default)" },
  { "range_4", "fixed range: 4", { gradient_range = 4 } },
  { "range_1", "fixed range: 1", { gradient_range = 1 } },
  { "range_01", "fixed range: 0.1", { gradient_range = 0.1 } },
  { "range_001", "fixed range: 0.01", { gradient_range = 0.01 } },
  { "range_1_stochastic", "fixed range: 1, gradients rounded stochastically",
    { gradient_range = 1, gradient_rounding = "stochastic", weight_gradient_rounding = "stochastic" } },
  { "range_1_g_w", "fixed range: 1, g_W not quantised", { gradient_range = 1, quantise_weight_gradient = false } },
  { "range_1_weights", "fixed range: 1, weights in INT8 only", { gradient_range = 1, weights = "int8" } },
  { "range_1_adam", "fixed range: 1, Adam", { gradient_range = 1, optimiser = "adam", learning_rate = 1e-3 } },
  { "stochastic", "gradients rounded stochastically",
    { gradient_rounding = "stochastic", weight_gradient_rounding = "stochastic" } },
  { "weights", "weights in INT8 only", { weights = "int8" } },
  { "adam", "Adam", { optimiser = "adam", learning_rate = 1e-3 } },
  { "rate", "ten times the learning rate", { learning_rate = high_rate } },
}
local fp32 = {
  { "fp32", "FP32" },
  { "fp32_adam", "FP32, Adam", { optimiser = "adam", learning_rate = 1e-3 } },
  { "fp32_rate", "FP32, ten times INT8's learning rate", { learning_rate = high_rate } },
}
local gdai8 = {
  { "gdai8", "BP-GDAI8: one product (default)" },
  { "gdai8_segments", "BP-GDAI8: two segments", { segments = 2 } },
}

local off, scalar, chain = { lookahead = "off" }, { lookahead = "scalar" }, { lookahead = "chain" }
local function lambda(reading, step, start)
  return { lookahead = reading.lookahead, lambda_step = step, lambda_start = start }
end
local lookahead = {
  { "off", "no look-ahead", off, "off" },
  { "greedy", "unit after unit", { schedule = "greedy", lookahead = "off" }, "greedy" },
  { "scalar", "scalar (default)", scalar, "lookahead" },
  { "chain", "chain", chain, "lookahead" },
  { "scalar_01", "scalar, lambda_step 0.01", lambda(scalar, 0.01), "lookahead" },
  { "chain_01", "chain, lambda_step 0.01", lambda(chain, 0.01), "lookahead" },
  { "scalar_1", "scalar, lambda_step 0.1", lambda(scalar, 0.1), "lookahead" },
  { "chain_1", "chain, lambda_step 0.1", lambda(chain, 0.1), "lookahead" },
  -- what lambda_step 0.01 reaches in the last of the twelve epochs
  { "scalar_flat", "scalar, lambda 0.11 all the time", lambda(scalar, 0, 0.11), "lookahead" },
  { "chain_flat", "chain, lambda 0.11 all the time", lambda(chain, 0, 0.11), "lookahead" },
}

local forward_forward = {
  { "recompute", "lookahead_memory: recompute", { lookahead_memory = "recompute" } },
  { "theta", "theta: 2", { theta = 2 } },
  { "mean", "goodness: mean of squares, theta 1",
    { goodness = "mean_squares", theta = 1, learning_rate = 1000 * tuned.ff_int8_tuned.learning_rate } },
  { "l2", "normalize: l2", { normalize = "l2" } },
  { "none", "normalize: none", { normalize = "none" } },
  { "hard", "negatives: hard", { negatives = "hard" } },
  { "once", "negatives drawn: once", { negatives_drawn = "once" } },
  { "epoch", "negatives drawn: every epoch", { negatives_drawn = "epoch" } },
  { "pattern", "label: a wave all over the image", { label = "pattern" } },
  { "plane", "label: a plane of its own", { label = "plane" } },
  { "weights", "weights: INT8 only", { weights = "int8" } },
  { "nearest", "rounding: nearest", { input_rounding = "nearest", gradient_rounding = "nearest" } },
  { "all", "inference: all units", { inference = "all" } },
  { "last", "inference: last unit", { inference = "last" } },
  { "head", "inference: a linear head", { inference = "linear_head" } },
}

local plan = readings.plan {
  collapse = { models = { "hidden0", "hidden1", "hidden2", "hidden3" },
    { algorithm = "bp_fp32", prefix = "bp_", rows = fp32 }, { algorithm = "bp_int8", prefix = "int8_", rows = int8 },
    { algorithm = "bp_gdai8", prefix = "bp_", rows = gdai8 } },
  lookahead = { models = { "mlp" },
    { algorithm = "ff_int8", prefix = "tuned_", title = "preset tuned", preset = "tuned", rows = lookahead,
      options = tuned.ff_int8_tuned },
    { algorithm = "ff_int8", prefix = "paper_", title = "preset paper", preset = "paper", rows = lookahead,
      options = tuned.ff_int8_paper } },
  others = { models = { "mlp" }, base = "tuned_scalar",
    { algorithm = "ff_int8", prefix = "ff_", preset = "tuned", rows = forward_forward, options = tuned.ff_int8_tuned } },
}

local models = { networks.mlp { "mlp" } }
local quick = { mlp = { seeds = { 1, 2 } } } -- forward-forward takes most of the time
for hidden = 0, 3 do
  models[#models + 1] = networks.hidden(hidden)
  quick[models[#models].name] = { seeds = { 1, 2, 3 } }
end

return experiment {
  name = "readings",
  title = "Readings of what the paper leaves open",
  models = models,
  algorithms = plan.rows,
  defaults = { mlp = { bp_fp32 = tuned.bp_fp32, bp_int8 = tuned.bp_int8, bp_gdai8 = tuned.bp_gdai8 } },
  profiles = {
    smoke = { epochs = 1, train_limit = 1000, eval_limit = 200, seeds = { 1 }, algorithms = { ff_int8 = { epochs = 2 } } },
    quick = { epochs = 3, train_limit = 20000, models = quick,
      algorithms = { ff_int8 = { epochs = 12, train_limit = 12000, eval_limit = 2000 } } },
    paper = { epochs = 100, seeds = { 1, 2, 3 }, algorithms = { ff_int8 = { epochs = 250 } } },
    reference = "quick",
  },
  report = plan.report,
  claims = require "claims".readings,
}
