-- The report of how far each row gets, and after how many epochs.
local tables = require "lib.tables"

local function accuracy_table(model)
  local list = tables.new { "Algorithm", "Epochs", "Seeds", "Test %", "Validation %", "Time s" }
  for _, row in ipairs(model.rows) do
    list:add(row:label(), row:plain("epochs", "%.4g"), row:seeds_text("accuracy"),
      row:text("accuracy"), row:text("validation"), row:text("time"))
  end
  return list
end

return function(results)
  local blocks = {}
  for _, model in ipairs(results.models) do
    blocks[#blocks + 1] = { heading = model.title }
    blocks[#blocks + 1] = accuracy_table(model)
  end
  blocks[#blocks + 1] = "Accuracy on the test set, read once after the last epoch; mean over seeds ± sample standard deviation."
  return blocks
end
