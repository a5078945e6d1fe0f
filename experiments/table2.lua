-- Table II: networks and their numbers of parameters, and what other readings of the paper's networks have. The numbers
-- come from records, so each network is trained for a moment.
local paper = require "paper"
local tables = require "lib.tables"

local function image_network(model, name, title, options)
  return { model, name = name, title = title, dataset = "cifar10", options = options }
end

-- The paper's network that each stands for.
local readings = {
  mlp = "mlp", mlp_biases = "mlp", mobilenet_v2 = "mobilenet_v2", efficientnet_b0 = "efficientnet_b0",
  efficientnet_b0_squeeze = "efficientnet_b0", resnet18 = "resnet18", resnet18_stem = "resnet18",
}

local function report(results)
  local list = tables.new { "Network", { title = "Dataset", align = "left" }, { title = "paper", align = "left" },
    "Parameters M", "paper", "Difference %" }
  for _, model in ipairs(results.models) do
    local row, printed = model.rows[1], paper.table2[readings[model.name]]
    local parameters = row:mean("parameters")
    local difference = parameters and ("%+.2f"):format(100 * (parameters / printed.parameters.value - 1)) or "-"
    list:add(model.title, row.cells[1].config.dataset, printed.dataset, row:text("parameters", "%.4f"),
      ("%.2f"):format(printed.parameters.value), row:traced(difference, "parameters"))
  end
  return { list, "Trainable parameters, without the running statistics of batch normalisation. The first of each network is "
    .. "what the other tables train." }
end

-- What the layouts have, to the last one, worked out by hand for the MLPs and by torchvision for the others.
local exact = { { row = "bp_fp32", finishes = true } }
for model, parameters in pairs {
  mlp = 1794000, mlp_biases = 1796010, mobilenet_v2 = 2236682, efficientnet_b0 = 3383818, efficientnet_b0_squeeze = 4020358,
  resnet18 = 11181642, resnet18_stem = 11173962,
} do
  exact[#exact + 1] = { row = "bp_fp32", model = model, metric = "model.parameters", at_least = parameters,
    at_most = parameters }
end
local moment = { epochs = 1, batch = 32, train_limit = 64, eval_limit = 32, skip_test = true }

return experiment {
  name = "table2",
  title = "Table II: networks and datasets",
  models = {
    { "mlp", dataset = "mnist", title = "MLP 784-1000-1000-10" },
    { "mlp", name = "mlp_biases", dataset = "mnist", title = "- with biases", options = { bias = true } },
    image_network("mobilenet_v2", nil, "MobileNet-V2"),
    image_network("efficientnet_b0", nil, "EfficientNet-B0"),
    image_network("efficientnet_b0", "efficientnet_b0_squeeze", "- with squeeze-and-excitation", { squeeze_excitation = true }),
    image_network("resnet18", nil, "ResNet-18"),
    image_network("resnet18", "resnet18_stem", "- with a stride-1 stem of 3x3", { stem = "cifar" }),
  },
  algorithms = { { "bp_fp32", title = "BP-FP32" } },
  defaults = require "tuned",
  profiles = { smoke = moment, quick = moment, paper = moment, reference = "paper" },
  report = report,
  claims = require "claims".table2,
  gates = { smoke = exact, quick = exact, paper = exact },
}
