-- What Table IV and Section V-C claim, as data (lib/verdicts.lua says what each field means), of the default reading of the
-- "4-layer MLP". Counts depend on neither data nor epochs, so every profile judges them.
local printed = require "paper".table4

local model = "mlp_3x500"
local list = {}

local function everywhere(tolerance)
  return { smoke = tolerance, quick = tolerance, paper = tolerance }
end

-- Within a twentieth: counts have no spread, but their definitions may differ in what they leave out.
local function count(row, column, text, metric)
  local number = printed[row][column]
  list[#list + 1] = {
    id = ("table4.%s.%s"):format(row, column),
    text = text .. " of {row}",
    place = number.place,
    kind = "value",
    model = model,
    row = row,
    metric = metric,
    paper = number.value,
    tolerance = everywhere(number.value / 20),
  }
end

count("bp_fp32", "mac_multiply_f32", "MACs", "macs")
for _, row in ipairs { "bp_gdai8", "ff_int8" } do
  count(row, "multiply_s8", "MACs", "macs")
  count(row, "compare_f32", "comparisons", "compared")
  count(row, "add_f32", "additions", "added")
end

list[#list + 1] = {
  id = "table4.ff_int8.mac_share",
  text = "MACs of {row} against BP-GDAI8",
  place = printed.mac_share.place,
  kind = "change",
  model = model,
  row = "ff_int8",
  base = "bp_gdai8",
  metric = "macs",
  paper = printed.mac_share.value - 100,
  tolerance = everywhere(1),
}

list[#list + 1] = {
  id = "table4.ff_int8.quantisation_is_small",
  text = "{row}: quantisation phase negligible (a twentieth of its MACs at most)",
  place = "Section V-C",
  kind = "value",
  model = model,
  row = "ff_int8",
  metric = "quantisation_share",
  at_most = 5,
}

list[#list + 1] = {
  id = "table4.rows_of_one_network",
  text = "MACs of FF-INT8 and of backpropagation on one network",
  place = "Table IV, MAC phase",
  kind = "contradiction",
  evidence = "With w weights and a batch of b backpropagation takes at most 3 w b and FF-INT8, with a positive and a negative "
    .. "pass, 4 w b; so 898.2 M means at least 29.9 M weights and 23.8 M means 0.6 M, where Table II's MLP has 1.79 M. "
    .. "784-500-500-500-10 has 22.99 M and, with every layer trained, 35.88 M: 1.56 times, not 2.6 %",
}

return list
