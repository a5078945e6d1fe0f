-- Every number that the paper prints, as data, each with its place. "FF-INT8: Efficient Forward-Forward DNN Training on
-- Edge Devices with INT8 Precision", DAC 2025, arXiv 2506.22771.
--
--   paper.table5.mlp.ff_int8.accuracy.value   94.3
--   paper.table5.mlp.ff_int8.accuracy.place   "Table V, MLP, FF-INT8, accuracy"
-- Percentages are points or per cent as printed; a negative change is a saving. Figures 2, 3 and 6 were read off the
-- printed plots, to about one point.

local algorithms = {
  bp_fp32 = "BP-FP32",
  bp_int8 = "BP-INT8",
  bp_ui8 = "BP-UI8",
  bp_gdai8 = "BP-GDAI8",
  ff_int8 = "FF-INT8",
}

local models = {
  mlp = "MLP",
  mobilenet_v2 = "MobileNet-V2",
  efficientnet_b0 = "EfficientNet-B0",
  resnet18 = "ResNet-18",
}

-- {name = number...} with the same names for each: {name = {value =, unit =, place =}}.
local function numbers(place, columns, values)
  local named = {}
  for i, column in ipairs(columns) do
    named[column[1]] = { value = values[i], unit = column[2], place = ("%s, %s"):format(place, column[3] or column[1]) }
  end
  return named
end

-- {model = {algorithm = number...}} as {model = {algorithm = numbers}}; place: where, with both their titles.
local function by_model(place, columns, rows)
  local named = {}
  for model, of_model in pairs(rows) do
    named[model] = {}
    for algorithm, values in pairs(of_model) do
      named[model][algorithm] = numbers(place:format(models[model], algorithms[algorithm]), columns, values)
    end
  end
  return named
end

-- ---- Table I: accuracy on MNIST by depth, 500 neurons in each hidden layer ----------------------------------------

local table1_columns = {
  { "bp_fp32", "%", "FP32 accuracy" },
  { "bp_int8", "%", "INT8 accuracy" },
  { "difference", "points", "accuracy difference" },
}

local table1 = {}
for layers, values in ipairs { { 89.5, 88.7, -0.8 }, { 93.4, 73.8, -19.6 }, { 94.5, 62.4, -32.1 }, { 94.3, 65.2, -29.1 } } do
  local hidden = layers - 1
  table1["hidden" .. hidden] = numbers(("Table I, %d hidden layers"):format(hidden), table1_columns, values)
end

-- ---- Table II: networks and datasets -------------------------------------------------------------------------------

local table2 = {}
for model, row in pairs {
  mlp = { "mnist", 1.79 },
  mobilenet_v2 = { "cifar10", 2.24 },
  efficientnet_b0 = { "cifar10", 3.39 },
  resnet18 = { "cifar10", 11.19 },
} do
  table2[model] = numbers("Table II, " .. models[model], { { "parameters", "million" } }, { row[2] })
  table2[model].dataset = row[1]
end

-- ---- Table III: the board ------------------------------------------------------------------------------------------

local table3 = {
  board = "NVIDIA Jetson Orin Nano",
  gpu = "Ampere, 512 cores",
  cpu = "Arm Cortex-A78AE v8.2, 6 cores, 64 bit",
  memory = "4 GB LPDDR5, 64 bit, 34 GB/s",
  power = "7 W to 10 W",
  performance = "20 TOPS",
  gpu_cores = { value = 512, unit = "cores", place = "Table III, GPU" },
  cpu_cores = { value = 6, unit = "cores", place = "Table III, CPU" },
  memory_size = { value = 4, unit = "GB", place = "Table III, memory" },
  memory_bandwidth = { value = 34, unit = "GB/s", place = "Table III, memory" },
  power_low = { value = 7, unit = "W", place = "Table III, power" },
  power_high = { value = 10, unit = "W", place = "Table III, power" },
  int8_rate = { value = 20, unit = "TOPS", place = "Table III, AI performance" },
}

-- ---- Table IV: operations for one batch of 10 on the 4-layer MLP ---------------------------------------------------

local table4_columns = {
  { "compare_f32", "operations", "quantisation phase, 32-bit CMP" },
  { "add_f32", "operations", "quantisation phase, 32-bit FADD" },
  { "multiply_s8", "operations", "MAC phase, 8-bit MUL" },
  { "add_s8", "operations", "MAC phase, 8-bit ADD" },
}

local table4 = {
  ff_int8 = numbers("Table IV, FF-INT8", table4_columns, { 32.4e3, 165.9e3, 23.8e6, 23.8e6 }),
  bp_fp32 = numbers("Table IV, BP-FP32", {
    { "mac_add_f32", "operations", "MAC phase, 32-bit FADD" },
    { "mac_multiply_f32", "operations", "MAC phase, 32-bit FMUL" },
  }, { 898.2e6, 898.2e6 }),
  bp_gdai8 = numbers("Table IV, GDAI8", table4_columns, { 7.2e3, 18.4e3, 898.2e6, 898.2e6 }),
  batch = { value = 10, unit = "samples", place = "Section V-C" },
  mac_share = { value = 2.6, unit = "%", place = "Section V-C, FF-INT8's MACs against backpropagation's" },
  int8_speed = { value = 4, unit = "times", place = "Section V-C, INT8 against FP32 arithmetic" },
}

-- ---- Table V: accuracy, time, energy and memory --------------------------------------------------------------------

local table5_columns = { { "accuracy", "%" }, { "time", "s" }, { "energy", "J" }, { "memory", "MB" } }

local table5 = by_model("Table V, %s, %s", table5_columns, {
  mlp = {
    bp_fp32 = { 94.5, 482.3, 2315.0, 247.6 },
    bp_int8 = { 52.4, 326.1, 1206.6, 213.9 },
    bp_ui8 = { 92.3, 335.2, 1277.1, 197.0 },
    bp_gdai8 = { 93.8, 344.9, 1345.4, 182.6 },
    ff_int8 = { 94.3, 312.7, 1097.0, 140.7 },
  },
  mobilenet_v2 = {
    bp_fp32 = { 91.5, 2370.8, 11593.2, 649.8 },
    bp_int8 = { 5.9, 1851.6, 7836.0, 571.6 },
    bp_ui8 = { 87.2, 1960.0, 7618.5, 592.6 },
    bp_gdai8 = { 90.9, 1790.7, 6528.1, 578.9 },
    ff_int8 = { 91.1, 1703.9, 6174.3, 437.0 },
  },
  efficientnet_b0 = {
    bp_fp32 = { 89.4, 2692.8, 13356.2, 861.0 },
    bp_int8 = { 11.8, 2095.0, 8563.9, 703.9 },
    bp_ui8 = { 85.3, 2230.8, 8656.2, 735.5 },
    bp_gdai8 = { 88.9, 2177.1, 8589.9, 692.0 },
    ff_int8 = { 88.6, 2129.9, 8093.8, 505.2 },
  },
  resnet18 = {
    bp_fp32 = { 93.5, 3853.0, 18764.1, 1096.4 },
    bp_int8 = { 7.2, 2676.1, 10436.8, 885.8 },
    bp_ui8 = { 89.7, 2873.8, 11466.5, 920.7 },
    bp_gdai8 = { 92.9, 2751.6, 10291.0, 894.1 },
    ff_int8 = { 93.1, 2697.9, 9926.5, 682.3 },
  },
})

-- The brackets behind FF-INT8's numbers: first against BP-FP32, then against BP-GDAI8.
local change_columns = { { "accuracy", "points" }, { "time", "%" }, { "energy", "%" }, { "memory", "%" } }

local table5_changes = by_model("Table V, %s, FF-INT8 against %s", change_columns, {
  mlp = { bp_fp32 = { -0.2, -35.2, -52.6, -43.2 }, bp_gdai8 = { 0.5, -9.3, -18.4, -22.9 } },
  mobilenet_v2 = { bp_fp32 = { -0.4, -28.1, -46.7, -32.7 }, bp_gdai8 = { 0.2, -4.8, -5.4, -24.5 } },
  efficientnet_b0 = { bp_fp32 = { -0.8, -20.9, -39.4, -41.3 }, bp_gdai8 = { -0.2, -2.2, -5.8, -27.0 } },
  resnet18 = { bp_fp32 = { -0.4, -30.0, -47.1, -37.7 }, bp_gdai8 = { 0.2, -2.0, -3.5, -23.7 } },
})

-- The two last rows.
local table5_averages = {
  bp_fp32 = numbers("Table V, average, FF-INT8 against BP-FP32", change_columns, { -0.4, -28.6, -46.4, -38.7 }),
  bp_gdai8 = numbers("Table V, average, FF-INT8 against BP-GDAI8", change_columns, { 0.2, -4.6, -8.3, -27.0 }),
}

-- ---- Figure 2: ResNet-18 on CIFAR-10, 100 epochs; points are {epoch, value} ------------------------------------------

local figure2 = {
  bp_fp32 = {
    place = "Figure 2, FP32",
    loss = { { 1, 1.75 }, { 60, 0.08 }, { 100, 0.08 } },
    accuracy = { { 1, 27 }, { 10, 60 }, { 25, 80 }, { 40, 90 }, { 60, 94 }, { 100, 94 } },
  },
  bp_int8 = {
    place = "Figure 2, INT8",
    loss = { { 1, 1.8 }, { 7, 1.8 }, { 8, math.huge }, { 100, math.huge } },
    accuracy = { { 2, 43 }, { 8, 9 }, { 100, 9 } },
    accuracy_low = 8, -- from epoch 8 on it lies between these
    accuracy_high = 10,
  },
}

-- ---- Figure 3: gradient of the first layer's weights, FP32, the MLPs of Table I ---------------------------------------

local figure3 = {
  axis = 0.010, -- from minus to plus
  bins = 130, -- about
  hidden0 = { peak_share = 4.1, bulk = 0.009, place = "Figure 3, no hidden layer" },
  hidden1 = { peak_share = 6.7, bulk = 0.0045, place = "Figure 3, 1 hidden layer" },
  hidden2 = { peak_share = 26, bulk = 0.0015, place = "Figure 3, 2 hidden layers" },
}

-- ---- Figure 6: test accuracy of FF-INT8 with and without look-ahead ----------------------------------------------------

-- A point every so many epochs.
local function curve(place, step, values)
  local points = {}
  for i, value in ipairs(values) do
    points[i] = { i * step, value }
  end
  return { place = place, accuracy = points }
end

local figure6 = {
  mlp = {
    lookahead = curve("Figure 6a, with look-ahead", 12.5,
      { 18, 26, 28, 39, 47, 55, 66, 79, 84, 89, 91.5, 91.5, 92, 93, 92.5, 92, 92.5, 92.5, 92, 92.5 }),
    off = curve("Figure 6a, without look-ahead", 12.5,
      { 14, 18, 20.5, 23, 28, 33.5, 41, 60, 66, 69, 73, 80, 85, 88.5, 89, 89.5, 89.5, 89, 89.5, 89.5 }),
  },
  resnet18 = {
    lookahead = curve("Figure 6b, with look-ahead", 50,
      { 6, 19, 34, 49, 57, 68, 74, 84, 89, 91.5, 92, 92.5, 92.5, 93, 93, 93, 92.5, 92.5, 93, 92.5 }),
    off = curve("Figure 6b, without look-ahead", 50,
      { 7, 8.5, 8, 9, 10, 9, 15, 20, 25.5, 27, 31, 37, 47, 43, 52, 57, 55, 59, 55.5, 53.5 }),
  },
}

-- ---- numbers in the text -------------------------------------------------------------------------------------------------

local text = {
  theta = { value = 2.0, unit = "", place = "Section V-A" },
  lambda_start = { value = 0, unit = "", place = "Section V-A" },
  lambda_step = { value = 0.001, unit = "per epoch", place = "Section V-A" },
  batch = { value = 32, unit = "samples", place = "Section V-A" },
  epochs_with_lookahead = { value = 130, unit = "epochs", place = "Section V-B, MLP" },
  epochs_without_lookahead = { value = 180, unit = "epochs", place = "Section V-B, MLP" },
  accuracy_without_lookahead = { value = 90, unit = "%", place = "Section V-B, MLP (nearly)" },
  resnet18_without_lookahead = { value = 60, unit = "%", place = "Section V-B, ResNet-18 (only)" },
  time_saved = { value = 4.6, unit = "%", place = "abstract, against BP-GDAI8" },
  energy_saved = { value = 8.3, unit = "%", place = "abstract, against BP-GDAI8" },
  memory_saved = { value = 27.0, unit = "%", place = "abstract, against BP-GDAI8" },
}

return {
  algorithms = algorithms,
  models = models,
  table1 = table1,
  table2 = table2,
  table3 = table3,
  table4 = table4,
  table5 = table5,
  table5_changes = table5_changes,
  table5_averages = table5_averages,
  figure2 = figure2,
  figure3 = figure3,
  figure6 = figure6,
  text = text,
}
