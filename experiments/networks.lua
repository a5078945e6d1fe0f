-- The paper's networks, with the data that experiments train them on and how images are prepared. networks.resnet18() is an
-- entry of an experiment's models; networks.resnet18 { test_by_epoch = true } has that option besides.
local titles = require "paper".models

local networks = {}

local function with(description, more)
  local model = {}
  for _, values in ipairs { description, more or {} } do
    for key, value in pairs(values) do
      model[key] = value
    end
  end
  return model
end

-- Of Tables II and V.
function networks.mlp(more)
  return with({ dataset = "mnist", title = "MLP 784-1000-1000-10", batch = 32 }, more)
end

-- Of Table I: hidden0, hidden1 and so on, with so many hidden layers of 500 neurons.
function networks.hidden(count, more)
  return with({ "mlp", name = "hidden" .. count, title = ("%d hidden layer%s"):format(count, count == 1 and "" or "s"),
    dataset = "mnist", batch = 32, options = { hidden = count == 0 and "none" or ("500,"):rep(count - 1) .. "500" } }, more)
end

for _, name in ipairs { "mobilenet_v2", "efficientnet_b0", "resnet18" } do
  networks[name] = function(more)
    return with({ dataset = "cifar10", title = titles[name], batch = 32, standardise = true, crop_padding = 4, flip = true },
      more)
  end
end

return networks
