-- What training in batches of 32 holds in memory, by mode, beside BP-GDAI8 with its update fused into the backward pass.
-- That depends on shapes alone, so a full and a smaller batch of generated images in CIFAR-10's shape say all.
local memory = require "lib.memory"

local base = "bp_gdai8"

local function network(title)
  return { dataset = "synthetic_shapes", title = title, batch = 32 }
end

local function backpropagation(name, title, option, value)
  return { base, name = base .. "_" .. name, title = "BP-GDAI8, " .. title, [option] = value }
end

-- Whose claims are about them.
local in_claims = { off = "off", keep = "lookahead", recompute = "lookahead", previous_epoch = "lookahead",
  chain = "lookahead" }

local function forward_forward(name, title, options)
  local row = { "ff_int8", name = "ff_int8_" .. name, title = "FF-INT8, " .. title, preset = "tuned",
    paper = in_claims[name] or false }
  for option, value in pairs(options) do
    row[option] = value
  end
  return row
end

local one_pass = "an extension of ours, not in the paper; plain SGD, as its search chose, keeps no state"
local one_pass_adam = "the preset's own optimiser, with two moments of each weight"

local short = { epochs = 1, synthetic_train = 64, synthetic_test = 10, train_limit = 40, eval_limit = 10, skip_test = true,
  seeds = { 1 } }

return experiment {
  name = "memory",
  title = "Memory of training, by mode",
  models = {
    mobilenet_v2 = network "MobileNet-V2",
    efficientnet_b0 = network "EfficientNet-B0",
    resnet18 = network "ResNet-18",
  },
  algorithms = {
    { "bp_fp32", title = "BP-FP32" },
    { "bp_int8", title = "BP-INT8" },
    { "bp_ui8", title = "BP-UI8" },
    { base, title = "BP-GDAI8" },
    backpropagation("separate", "update after the backward pass", "update", "separate"),
    backpropagation("checkpointing", "checkpointing", "checkpointing", "unit"),
    backpropagation("accumulation", "a batch in 4 parts", "accumulation", 4),
    forward_forward("off", "no look-ahead", { lookahead = "off" }),
    forward_forward("keep", "scalar look-ahead", { lookahead = "scalar" }),
    forward_forward("recompute", "scalar, recomputed", { lookahead = "scalar", lookahead_memory = "recompute" }),
    forward_forward("previous_epoch", "scalar, an epoch old",
      { lookahead = "scalar", lookahead_memory = "previous_epoch", negatives_drawn = "once" }),
    forward_forward("layer", "scalar, a unit is a layer", { lookahead = "scalar", unit = "layer" }),
    forward_forward("block", "look-ahead by block, a unit is a layer", { lookahead = "block", unit = "layer" }),
    forward_forward("chain", "look-ahead by chain", { lookahead = "chain" }),
    forward_forward("one_pass", "one-pass", { preset = "one_pass", optimiser = "sgd", momentum = 0, note = one_pass }),
    forward_forward("one_pass_adam", "one-pass, Adam", { preset = "one_pass", optimiser = "adam", note = one_pass_adam }),
  },
  profiles = { smoke = short, quick = short, paper = short, reference = "quick" },
  report = memory.report_to(base),
  claims = require "claims".memory,
}
