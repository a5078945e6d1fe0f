# gnuplot fig6_mlp.gp draws fig6_mlp.svg and fig6_mlp.png. Written by ffbench from its records.
set encoding utf8
$p0s0 << EOD
EOD
$p0s1 << EOD
EOD
$p0s2 << EOD
EOD
$p0s3 << EOD
EOD
$p0s4 << EOD
12.5 18 nan nan 18 nan
25 26 nan nan 26 nan
37.5 28 nan nan 28 nan
50 39 nan nan 39 nan
62.5 47 nan nan 47 nan
75 55 nan nan 55 nan
87.5 66 nan nan 66 nan
100 79 nan nan 79 nan
112.5 84 nan nan 84 nan
125 89 nan nan 89 nan
137.5 91.5 nan nan 91.5 nan
150 91.5 nan nan 91.5 nan
162.5 92 nan nan 92 nan
175 93 nan nan 93 nan
187.5 92.5 nan nan 92.5 nan
200 92 nan nan 92 nan
212.5 92.5 nan nan 92.5 nan
225 92.5 nan nan 92.5 nan
237.5 92 nan nan 92 nan
250 92.5 nan nan 92.5 nan
EOD
$p0s5 << EOD
12.5 14 nan nan 14 nan
25 18 nan nan 18 nan
37.5 20.5 nan nan 20.5 nan
50 23 nan nan 23 nan
62.5 28 nan nan 28 nan
75 33.5 nan nan 33.5 nan
87.5 41 nan nan 41 nan
100 60 nan nan 60 nan
112.5 66 nan nan 66 nan
125 69 nan nan 69 nan
137.5 73 nan nan 73 nan
150 80 nan nan 80 nan
162.5 85 nan nan 85 nan
175 88.5 nan nan 88.5 nan
187.5 89 nan nan 89 nan
200 89.5 nan nan 89.5 nan
212.5 89.5 nan nan 89.5 nan
225 89 nan nan 89 nan
237.5 89.5 nan nan 89.5 nan
250 89.5 nan nan 89.5 nan
EOD
$p1s0 << EOD
EOD
$p1s1 << EOD
EOD
$p1s2 << EOD
EOD
$p1s3 << EOD
EOD
$p1s4 << EOD
12.5 18 nan nan 18 nan
25 26 nan nan 26 nan
37.5 28 nan nan 28 nan
50 39 nan nan 39 nan
62.5 47 nan nan 47 nan
75 55 nan nan 55 nan
87.5 66 nan nan 66 nan
100 79 nan nan 79 nan
112.5 84 nan nan 84 nan
125 89 nan nan 89 nan
137.5 91.5 nan nan 91.5 nan
150 91.5 nan nan 91.5 nan
162.5 92 nan nan 92 nan
175 93 nan nan 93 nan
187.5 92.5 nan nan 92.5 nan
200 92 nan nan 92 nan
212.5 92.5 nan nan 92.5 nan
225 92.5 nan nan 92.5 nan
237.5 92 nan nan 92 nan
250 92.5 nan nan 92.5 nan
EOD
$p1s5 << EOD
12.5 14 nan nan 14 nan
25 18 nan nan 18 nan
37.5 20.5 nan nan 20.5 nan
50 23 nan nan 23 nan
62.5 28 nan nan 28 nan
75 33.5 nan nan 33.5 nan
87.5 41 nan nan 41 nan
100 60 nan nan 60 nan
112.5 66 nan nan 66 nan
125 69 nan nan 69 nan
137.5 73 nan nan 73 nan
150 80 nan nan 80 nan
162.5 85 nan nan 85 nan
175 88.5 nan nan 88.5 nan
187.5 89 nan nan 89 nan
200 89.5 nan nan 89.5 nan
212.5 89.5 nan nan 89.5 nan
225 89 nan nan 89 nan
237.5 89.5 nan nan 89.5 nan
250 89.5 nan nan 89.5 nan
EOD
do for [format in 'svg png'] {
  if (format eq 'svg') {
    set terminal svg noenhanced size 326,520 font 'DejaVu Sans,Arial,Helvetica,sans-serif,9' background 'white'
  } else {
    set terminal pngcairo noenhanced size 1304,2080 font 'DejaVu Sans,9' fontscale 4 linewidth 4 pointscale 4 background 'white'
  }
  set output 'fig6_mlp.'.format
  set multiplot
  set lmargin at screen 0
  set rmargin at screen 1
  set tmargin at screen 1
  set bmargin at screen 0
  unset border
  unset tics
  unset label
  unset grid
  unset logscale
  set xrange [0:1]
  set yrange [0:1]
  set label 'Look-ahead in FF-INT8, MLP (profile paper)' at screen 0.018405,0.976923 left font ',10'
  set label 'ffbench, profile paper; no run yet' at screen 0.018405,0.017308 left font ',7' textcolor rgb '#555555'
  set key at screen -0.006135,0.188462 left top Left reverse samplen 2.2 spacing 1 font ',9' maxcols 1
  plot 2 with linespoints lc rgb '#0072b2' lw 1.8 pt 7 ps 0.4 title 'look-ahead (no record)', 2 with linespoints lc rgb '#d55e00' lw 1.8 pt 5 ps 0.4 title 'look-ahead, chain (no record)', 2 with linespoints lc rgb '#009e73' lw 1.8 pt 9 ps 0.4 title 'no look-ahead (no record)', 2 with linespoints lc rgb '#cc79a7' lw 1.8 pt 13 ps 0.4 title 'unit after unit (no record)', 2 with lines lc rgb '#7fb8d8' lw 1 dt (7,4) title 'paper: look-ahead', 2 with lines lc rgb '#7fceb9' lw 1 dt (7,4) title 'paper: no look-ahead', NaN notitle
  unset label
  unset key
  set lmargin at screen 0.122699
  set rmargin at screen 0.944785
  set border 3 lw 0.7 lc rgb '#666666'
  set tics nomirror out scale 0.5 font ',9' textcolor rgb '#333333'
  set grid ytics lt 1 lw 0.5 lc rgb '#e4e4e4'
  set tmargin at screen 0.919231
  set bmargin at screen 0.650000
  unset label
  set label 1 'Test accuracy (%)' at screen 0.018405,0.944231 left font ',9'
  set label 2 'goodness: tuned' at screen 0.944785,0.944231 right font ',9'
  set label 3 'Epoch' at screen 0.533742,0.594231 center font ',9'
  set xrange [1:250]
  set logscale x
  set format x '%g'
  set xtics nomirror autofreq
  set yrange [0:100]
  unset logscale y
  set format y '%g'
  set ytics nomirror 0,20,100.00002
  plot $p0s4 using 1:2 with lines lc rgb '#7fb8d8' lw 1 dt (7,4) notitle, $p0s5 using 1:2 with lines lc rgb '#7fceb9' lw 1 dt (7,4) notitle, NaN notitle
  set tmargin at screen 0.538462
  set bmargin at screen 0.269231
  unset label
  set label 1 'Test accuracy (%)' at screen 0.018405,0.563462 left font ',9'
  set label 2 'goodness: as in the paper' at screen 0.944785,0.563462 right font ',9'
  set label 3 'Epoch' at screen 0.533742,0.213462 center font ',9'
  set xrange [1:250]
  set logscale x
  set format x '%g'
  set xtics nomirror autofreq
  set yrange [0:100]
  unset logscale y
  set format y '%g'
  set ytics nomirror 0,20,100.00002
  plot $p1s4 using 1:2 with lines lc rgb '#7fb8d8' lw 1 dt (7,4) notitle, $p1s5 using 1:2 with lines lc rgb '#7fceb9' lw 1 dt (7,4) notitle, NaN notitle
  unset multiplot
  unset output
}
