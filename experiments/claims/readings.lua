-- Of the sentences on how to train, those that a short run of each reading can judge.
local common = require "claims.common"

local readings, claim = common.list "readings"

for _, preset in ipairs { "tuned", "paper" } do
  for _, lookahead in ipairs { "scalar", "chain" } do
    claim { id = ("%s_%s.from_zero"):format(preset, lookahead), place = "Section IV-C", kind = "difference", model = "mlp",
      text = "{row}: growing from 0 ends no lower than with the last epoch's lambda all the time",
      row = ("%s_%s_01"):format(preset, lookahead), base = ("%s_%s_flat"):format(preset, lookahead), metric = "accuracy",
      at_least = 0, resolution = 0.5, profiles = { "quick" } }
  end
end

return readings
