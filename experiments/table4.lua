-- Table IV: operations of one training step on a batch of 10, worked out from formulas and counted while it runs. Counts
-- depend on neither data nor epochs, so a few steps do in every profile; only the reference backend counts as it runs.
local operations = require "lib.operations"

local function network(hidden, title)
  return { "mlp", name = ("mlp_%dx%d"):format(#hidden, hidden[1]), title = title, dataset = "mnist", batch = 10,
    backend = "reference", options = { hidden = hidden } }
end

-- Worked out by hand. FF-INT8 leaves the last layer out, and computes no gradient of an input.
local by_hand = {
  mlp_3x500 = { bp_fp32 = 22990000, bp_int8 = 22990000, bp_gdai8 = 22990000, ff_int8 = 35680000 },
  mlp_2x1000 = { bp_fp32 = 45980000, bp_int8 = 45980000, bp_gdai8 = 45980000, ff_int8 = 71360000 },
}
local exact = { { row = "ff_int8", metric = "input_gradient", at_most = 0 } }
for model, counts in pairs(by_hand) do
  for row, number in pairs(counts) do
    for _, metric in ipairs { "macs_formula", "macs", "macs_running" } do
      exact[#exact + 1] = { row = row, model = model, metric = metric, at_least = number, at_most = number }
    end
  end
end

local few_steps = { epochs = 1, train_limit = 50, eval_limit = 10, seeds = { 1 } }

return experiment {
  name = "table4",
  title = "Table IV: operations of a training step",
  models = { -- which "4-layer MLP" is open: three hidden layers of 500 is the default reading
    network({ 500, 500, 500 }, "784-500-500-500-10"),
    network({ 1000, 1000 }, "784-1000-1000-10"),
  },
  algorithms = {
    { "bp_fp32", title = "BP-FP32" },
    { "bp_int8", title = "BP-INT8", paper = "bp_gdai8", note = "the paper gives one row for GDAI8 and BP-INT8" },
    { "bp_gdai8", title = "BP-GDAI8" },
    { "ff_int8", title = "FF-INT8", preset = "paper", lookahead = "scalar" },
    { "ff_int8", name = "ff_int8_chain", title = "FF-INT8 chain", preset = "paper", lookahead = "chain", paper = false,
      note = "look-ahead that differentiates through the later layers, as Eq. 4 needs" },
    { "ff_int8", name = "ff_int8_one_pass", title = "FF-INT8 one-pass", preset = "one_pass", paper = false,
      note = "an extension of ours, not in the paper: neurons in one group per class, no negative pass" },
  },
  profiles = { smoke = few_steps, quick = few_steps, paper = few_steps, reference = "paper" },
  report = operations.report,
  paper = { mlp = operations.paper(require "paper".table4) },
  claims = require "claims".table4,
  gates = { smoke = exact, quick = exact, paper = exact },
}
