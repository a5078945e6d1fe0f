# gnuplot fig2.gp draws fig2.svg and fig2.png. Written by ffbench from its records.
set encoding utf8
$p0s0 << EOD
1 2.113685813 nan nan 2.113685813 nan
2 1.76122885 nan nan 1.76122885 nan
3 1.52849792 nan nan 1.52849792 nan
4 1.390829933 nan nan 1.390829933 nan
EOD
$p0s1 << EOD
1 2.076788147 nan nan 2.076788147 nan
2 1.716497529 nan nan 1.716497529 nan
3 1.493214857 nan nan 1.493214857 nan
4 1.365880567 nan nan 1.365880567 nan
EOD
$p0s2 << EOD
1 8.315457315 nan nan 8.315457315 nan
2 31.37898663 nan nan 31.37898663 nan
3 35.63781229 nan nan 35.63781229 nan
4 14.01981678 nan nan 14.01981678 nan
EOD
$p0s3 << EOD
1 1.75 nan nan 1.75 nan
60 0.08 nan nan 0.08 nan
100 0.08 nan nan 0.08 nan
EOD
$p0s4 << EOD
1 1.8 nan nan 1.8 nan
7 1.8 nan nan 1.8 nan
8 251.1886432 nan nan nan 251.1886432
100 251.1886432 nan nan nan 251.1886432
EOD
$p1s0 << EOD
1 35.3 nan nan 35.3 nan
2 43.8 nan nan 43.8 nan
3 52.2 nan nan 52.2 nan
4 54.7 nan nan 54.7 nan
EOD
$p1s1 << EOD
1 38.8 nan nan 38.8 nan
2 44 nan nan 44 nan
3 52.4 nan nan 52.4 nan
4 52.9 nan nan 52.9 nan
EOD
$p1s2 << EOD
1 10.4 nan nan 10.4 nan
2 10 nan nan 10 nan
3 10.1 nan nan 10.1 nan
4 12.4 nan nan 12.4 nan
EOD
$p1s3 << EOD
1 27 nan nan 27 nan
10 60 nan nan 60 nan
25 80 nan nan 80 nan
40 90 nan nan 90 nan
60 94 nan nan 94 nan
100 94 nan nan 94 nan
EOD
$p1s4 << EOD
2 43 nan nan 43 nan
8 9 nan nan 9 nan
100 9 nan nan 9 nan
EOD
do for [format in 'svg png'] {
  if (format eq 'svg') {
    set terminal svg noenhanced size 326,481 font 'DejaVu Sans,Arial,Helvetica,sans-serif,9' background 'white'
  } else {
    set terminal pngcairo noenhanced size 1304,1924 font 'DejaVu Sans,9' fontscale 4 linewidth 4 pointscale 4 background 'white'
  }
  set output 'fig2.'.format
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
  set label 'ResNet-18 with gradients quantised directly' at screen 0.018405,0.975052 left font ',10'
  set label 'ffbench, profile quick; runs 3d8a199a 899301d6 dea33a9e' at screen 0.018405,0.018711 left font ',7' textcolor rgb '#555555'
  set key at screen -0.006135,0.122661 left top Left reverse samplen 2.2 spacing 1 font ',9' maxcols 1
  plot 2 with linespoints lc rgb '#0072b2' lw 1.8 pt 7 ps 0.4 title 'FP32', 2 with linespoints lc rgb '#d55e00' lw 1.8 pt 5 ps 0.4 title 'INT8', 2 with linespoints lc rgb '#009e73' lw 1.8 pt 9 ps 0.4 title 'INT8, fixed range', NaN notitle
  unset label
  set key at screen 0.469325,0.122661 left top Left reverse samplen 2.2 spacing 1 font ',9' maxcols 1
  plot 2 with linespoints lc rgb '#7fb8d8' lw 1 dt (7,4) pt 7 ps 0.25 title 'paper: FP32', 2 with linespoints lc rgb '#eaae7f' lw 1 dt (7,4) pt 5 ps 0.25 title 'paper: INT8', 2 with points pt 9 ps 0.8 lc rgb '#000000' title 'not finite', NaN notitle
  unset key
  set lmargin at screen 0.125767
  set rmargin at screen 0.944785
  set border 3 lw 0.7 lc rgb '#666666'
  set tics nomirror out scale 0.5 font ',9' textcolor rgb '#333333'
  set grid ytics lt 1 lw 0.5 lc rgb '#e4e4e4'
  set tmargin at screen 0.912682
  set bmargin at screen 0.621622
  unset label
  set label 1 'Training loss' at screen 0.018405,0.939709 left font ',9'
  set label 3 'Epoch' at screen 0.535276,0.561331 center font ',9'
  set xrange [1:100]
  set logscale x
  set format x '%g'
  set xtics nomirror autofreq
  set yrange [0.01:251.1886432]
  set logscale y
  set format y '%g'
  set ytics nomirror autofreq
  set ytics add ('∞' 251.1886432)
  plot $p0s3 using 1:2 with lines lc rgb '#7fb8d8' lw 1 dt (7,4) notitle, $p0s3 using 1:5 with points lc rgb '#7fb8d8' lw 1 dt (7,4) pt 7 ps 0.25 notitle, $p0s3 using 1:6 with points pt 9 ps 0.8 lc rgb '#7fb8d8' notitle, $p0s4 using 1:2 with lines lc rgb '#eaae7f' lw 1 dt (7,4) notitle, $p0s4 using 1:5 with points lc rgb '#eaae7f' lw 1 dt (7,4) pt 5 ps 0.25 notitle, $p0s4 using 1:6 with points pt 9 ps 0.8 lc rgb '#eaae7f' notitle, $p0s0 using 1:2 with lines lc rgb '#0072b2' lw 1.8 notitle, $p0s0 using 1:5 with points lc rgb '#0072b2' lw 1.8 pt 7 ps 0.4 notitle, $p0s0 using 1:6 with points pt 9 ps 0.8 lc rgb '#0072b2' notitle, $p0s1 using 1:2 with lines lc rgb '#d55e00' lw 1.8 notitle, $p0s1 using 1:5 with points lc rgb '#d55e00' lw 1.8 pt 5 ps 0.4 notitle, $p0s1 using 1:6 with points pt 9 ps 0.8 lc rgb '#d55e00' notitle, $p0s2 using 1:2 with lines lc rgb '#009e73' lw 1.8 notitle, $p0s2 using 1:5 with points lc rgb '#009e73' lw 1.8 pt 9 ps 0.4 notitle, $p0s2 using 1:6 with points pt 9 ps 0.8 lc rgb '#009e73' notitle, NaN notitle
  set tmargin at screen 0.501040
  set bmargin at screen 0.209979
  unset label
  set label 1 'Test accuracy (%)' at screen 0.018405,0.528067 left font ',9'
  set label 3 'Epoch' at screen 0.535276,0.149688 center font ',9'
  set xrange [1:100]
  set logscale x
  set format x '%g'
  set xtics nomirror autofreq
  set yrange [0:100]
  unset logscale y
  set format y '%g'
  set ytics nomirror 0,20,100.00002
  plot $p1s3 using 1:2 with lines lc rgb '#7fb8d8' lw 1 dt (7,4) notitle, $p1s3 using 1:5 with points lc rgb '#7fb8d8' lw 1 dt (7,4) pt 7 ps 0.25 notitle, $p1s4 using 1:2 with lines lc rgb '#eaae7f' lw 1 dt (7,4) notitle, $p1s4 using 1:5 with points lc rgb '#eaae7f' lw 1 dt (7,4) pt 5 ps 0.25 notitle, $p1s0 using 1:2 with lines lc rgb '#0072b2' lw 1.8 notitle, $p1s0 using 1:5 with points lc rgb '#0072b2' lw 1.8 pt 7 ps 0.4 notitle, $p1s1 using 1:2 with lines lc rgb '#d55e00' lw 1.8 notitle, $p1s1 using 1:5 with points lc rgb '#d55e00' lw 1.8 pt 5 ps 0.4 notitle, $p1s2 using 1:2 with lines lc rgb '#009e73' lw 1.8 notitle, $p1s2 using 1:5 with points lc rgb '#009e73' lw 1.8 pt 9 ps 0.4 notitle, NaN notitle
  unset multiplot
  unset output
}
