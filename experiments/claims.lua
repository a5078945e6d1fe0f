-- What the paper claims, in our words, as data: a list for each table and figure in claims/, lib/verdicts.lua says what each
-- field means and gives the verdict. An experiment takes the list that belongs to it: claims = require "claims".table5. Claims
-- on a network that an experiment does not train are left out there.
return {
  table1 = require "claims.table1",
  table2 = require "claims.table2",
  table3 = require "claims.table3",
  table4 = require "claims.table4",
  table5 = require "claims.table5",
  fig2 = require "claims.fig2",
  fig3 = require "claims.fig3",
  fig6 = require "claims.fig6",
}
