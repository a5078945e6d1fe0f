-- What the paper claims, in our words, as data: a list for each table and figure in claims/, lib/verdicts.lua says what each
-- field means and gives the verdict. An experiment takes the list that belongs to it: claims = require "claims".table5. Claims
-- on a network that an experiment does not train are left out there.
local lists = {
  table1 = require "claims.table1",
  table2 = require "claims.table2",
  table3 = require "claims.table3",
  table4 = require "claims.table4",
  table5 = require "claims.table5",
  fig2 = require "claims.fig2",
  fig3 = require "claims.fig3",
  fig6 = require "claims.fig6",
  memory = require "claims.memory",
  readings = require "claims.readings",
}

-- What a reader asks first: the abstract's numbers, then each section's point. Summaries of verdicts show these in this order.
local headlines = {
  "table5.average.time_against_bp_gdai8", "table5.average.energy_against_bp_gdai8", "table5.average.memory_against_bp_gdai8",
  "table5.average.accuracy_against_bp_gdai8", "table5.mlp.ff_int8.near_gdai8", "table5.mlp.ff_int8.memory_against_bp_fp32",
  "table1.one_layer_is_safe", "table1.hidden2.collapses", "table1.hidden3.collapses", "table1.loss_grows_with_depth",
  "fig2.bp_int8.diverges", "fig3.kurtosis_grows", "fig3.extremes_grow", "fig6.mlp.fewer_epochs", "fig6.mlp.higher",
  "fig6.resnet18.much_higher", "table4.ff_int8.share_of_bp_fp32", "table5.mlp.ff_int8.per_epoch",
  "table5.mlp.ff_int8.more_epochs", "table5.mlp.ff_int8.cheaper_in_total_time", "table5.mlp.ff_int8.cheaper_in_total_energy",
}

local ranks = {}
for rank, id in ipairs(headlines) do
  ranks[id] = rank
end
for _, list in pairs(lists) do
  for _, claim in ipairs(list) do
    claim.headline, ranks[claim.id] = ranks[claim.id], nil
  end
end
for id in pairs(ranks) do
  error("no claim is called " .. id)
end

return lists
