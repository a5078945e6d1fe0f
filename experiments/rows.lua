-- Rows that several experiments train: the paper's algorithms, FF-INT8 in two readings of its goodness, and an extension of
-- ours. Learning rates are in tuned.lua.
return {
  bp_fp32 = { "bp_fp32", title = "BP-FP32" },
  bp_int8 = { "bp_int8", title = "BP-INT8" },
  bp_ui8 = { "bp_ui8", title = "BP-UI8" },
  bp_gdai8 = { "bp_gdai8", title = "BP-GDAI8" },
  ff_int8_tuned = { "ff_int8", name = "ff_int8_tuned", title = "FF-INT8 tuned", preset = "tuned", lookahead = "scalar" },
  ff_int8_paper = { "ff_int8", name = "ff_int8_paper", title = "FF-INT8 paper", preset = "paper", lookahead = "scalar",
    note = "goodness, normalisation and theta as the paper gives them; tuned is another reading of what it leaves open" },
  ff_int8_one_pass = { "ff_int8", name = "ff_int8_one_pass", title = "FF-INT8 one-pass", preset = "one_pass", paper = false,
    note = "an extension of ours, not in the paper: neurons or channels in one group per class, no negative pass" },
}
