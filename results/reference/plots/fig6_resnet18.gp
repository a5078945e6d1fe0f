# gnuplot fig6_resnet18.gp draws fig6_resnet18.svg and fig6_resnet18.png. Written by ffbench from its records.
set encoding utf8
$p0s0 << EOD
1 19 nan nan 19 nan
2 19.8 nan nan 19.8 nan
3 26.4 nan nan 26.4 nan
EOD
$p0s1 << EOD
1 19 nan nan 19 nan
2 19 nan nan 19 nan
3 27.8 nan nan 27.8 nan
EOD
$p0s2 << EOD
1 19 nan nan 19 nan
2 18.8 nan nan 18.8 nan
3 26.8 nan nan 26.8 nan
EOD
$p0s3 << EOD
1 6.6 nan nan 6.6 nan
2 16.4 nan nan 16.4 nan
3 20.6 nan nan 20.6 nan
4 21.4 nan nan 21.4 nan
5 21.8 nan nan 21.8 nan
6 24.8 nan nan 24.8 nan
7 25 nan nan 25 nan
8 27 nan nan 27 nan
9 27.2 nan nan 27.2 nan
EOD
$p0s4 << EOD
50 6 nan nan 6 nan
100 19 nan nan 19 nan
150 34 nan nan 34 nan
200 49 nan nan 49 nan
250 57 nan nan 57 nan
300 68 nan nan 68 nan
350 74 nan nan 74 nan
400 84 nan nan 84 nan
450 89 nan nan 89 nan
500 91.5 nan nan 91.5 nan
550 92 nan nan 92 nan
600 92.5 nan nan 92.5 nan
650 92.5 nan nan 92.5 nan
700 93 nan nan 93 nan
750 93 nan nan 93 nan
800 93 nan nan 93 nan
850 92.5 nan nan 92.5 nan
900 92.5 nan nan 92.5 nan
950 93 nan nan 93 nan
1000 92.5 nan nan 92.5 nan
EOD
$p0s5 << EOD
50 7 nan nan 7 nan
100 8.5 nan nan 8.5 nan
150 8 nan nan 8 nan
200 9 nan nan 9 nan
250 10 nan nan 10 nan
300 9 nan nan 9 nan
350 15 nan nan 15 nan
400 20 nan nan 20 nan
450 25.5 nan nan 25.5 nan
500 27 nan nan 27 nan
550 31 nan nan 31 nan
600 37 nan nan 37 nan
650 47 nan nan 47 nan
700 43 nan nan 43 nan
750 52 nan nan 52 nan
800 57 nan nan 57 nan
850 55 nan nan 55 nan
900 59 nan nan 59 nan
950 55.5 nan nan 55.5 nan
1000 53.5 nan nan 53.5 nan
EOD
$p1s0 << EOD
1 14.6 nan nan 14.6 nan
2 14 nan nan 14 nan
3 12.6 nan nan 12.6 nan
EOD
$p1s1 << EOD
1 14.6 nan nan 14.6 nan
2 14.6 nan nan 14.6 nan
3 13.8 nan nan 13.8 nan
EOD
$p1s2 << EOD
1 14.6 nan nan 14.6 nan
2 12.2 nan nan 12.2 nan
3 11.4 nan nan 11.4 nan
EOD
$p1s3 << EOD
1 10.6 nan nan 10.6 nan
2 13.2 nan nan 13.2 nan
3 14.4 nan nan 14.4 nan
4 14 nan nan 14 nan
5 14.2 nan nan 14.2 nan
6 14.4 nan nan 14.4 nan
7 13 nan nan 13 nan
8 12.2 nan nan 12.2 nan
9 11.2 nan nan 11.2 nan
EOD
$p1s4 << EOD
50 6 nan nan 6 nan
100 19 nan nan 19 nan
150 34 nan nan 34 nan
200 49 nan nan 49 nan
250 57 nan nan 57 nan
300 68 nan nan 68 nan
350 74 nan nan 74 nan
400 84 nan nan 84 nan
450 89 nan nan 89 nan
500 91.5 nan nan 91.5 nan
550 92 nan nan 92 nan
600 92.5 nan nan 92.5 nan
650 92.5 nan nan 92.5 nan
700 93 nan nan 93 nan
750 93 nan nan 93 nan
800 93 nan nan 93 nan
850 92.5 nan nan 92.5 nan
900 92.5 nan nan 92.5 nan
950 93 nan nan 93 nan
1000 92.5 nan nan 92.5 nan
EOD
$p1s5 << EOD
50 7 nan nan 7 nan
100 8.5 nan nan 8.5 nan
150 8 nan nan 8 nan
200 9 nan nan 9 nan
250 10 nan nan 10 nan
300 9 nan nan 9 nan
350 15 nan nan 15 nan
400 20 nan nan 20 nan
450 25.5 nan nan 25.5 nan
500 27 nan nan 27 nan
550 31 nan nan 31 nan
600 37 nan nan 37 nan
650 47 nan nan 47 nan
700 43 nan nan 43 nan
750 52 nan nan 52 nan
800 57 nan nan 57 nan
850 55 nan nan 55 nan
900 59 nan nan 59 nan
950 55.5 nan nan 55.5 nan
1000 53.5 nan nan 53.5 nan
EOD
do for [format in 'svg png'] {
  if (format eq 'svg') {
    set terminal svg noenhanced size 326,505 font 'DejaVu Sans,Arial,Helvetica,sans-serif,9' background 'white'
  } else {
    set terminal pngcairo noenhanced size 1304,2020 font 'DejaVu Sans,9' fontscale 4 linewidth 4 pointscale 4 background 'white'
  }
  set output 'fig6_resnet18.'.format
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
  set label 'Look-ahead in FF-INT8, ResNet-18 (profile' at screen 0.018405,0.976238 left font ',10'
  set label 'quick)' at screen 0.018405,0.948515 left font ',10'
  set label 'ffbench, profile quick; runs 0b78a04a 2a255f52 39f3182f' at screen 0.018405,0.037624 left font ',7' textcolor rgb '#555555'
  set label '68b18767 88e14fda and 3 more' at screen 0.018405,0.017822 left font ',7' textcolor rgb '#555555'
  set key at screen -0.006135,0.136634 left top Left reverse samplen 2.2 spacing 1 font ',9' maxcols 1
  plot 2 with linespoints lc rgb '#0072b2' lw 1.8 pt 7 ps 0.4 title 'look-ahead', 2 with linespoints lc rgb '#d55e00' lw 1.8 pt 5 ps 0.4 title 'look-ahead, chain', 2 with linespoints lc rgb '#009e73' lw 1.8 pt 9 ps 0.4 title 'no look-ahead', NaN notitle
  unset label
  set key at screen 0.469325,0.136634 left top Left reverse samplen 2.2 spacing 1 font ',9' maxcols 1
  plot 2 with linespoints lc rgb '#cc79a7' lw 1.8 pt 13 ps 0.4 title 'unit after unit', 2 with lines lc rgb '#7fb8d8' lw 1 dt (7,4) title 'paper: look-ahead', 2 with lines lc rgb '#7fceb9' lw 1 dt (7,4) title 'paper: no look-ahead', NaN notitle
  unset key
  set lmargin at screen 0.122699
  set rmargin at screen 0.944785
  set border 3 lw 0.7 lc rgb '#666666'
  set tics nomirror out scale 0.5 font ',9' textcolor rgb '#333333'
  set grid ytics lt 1 lw 0.5 lc rgb '#e4e4e4'
  set tmargin at screen 0.889109
  set bmargin at screen 0.611881
  unset label
  set label 1 'Test accuracy (%)' at screen 0.018405,0.914851 left font ',9'
  set label 2 'goodness: tuned' at screen 0.944785,0.914851 right font ',9'
  set label 3 'Epoch' at screen 0.533742,0.554455 center font ',9'
  set xrange [1:1000]
  set logscale x
  set format x '%g'
  set xtics nomirror autofreq
  set yrange [0:100]
  unset logscale y
  set format y '%g'
  set ytics nomirror 0,20,100.00002
  plot $p0s4 using 1:2 with lines lc rgb '#7fb8d8' lw 1 dt (7,4) notitle, $p0s5 using 1:2 with lines lc rgb '#7fceb9' lw 1 dt (7,4) notitle, $p0s0 using 1:2 with lines lc rgb '#0072b2' lw 1.8 notitle, $p0s0 using 1:5 with points lc rgb '#0072b2' lw 1.8 pt 7 ps 0.4 notitle, $p0s1 using 1:2 with lines lc rgb '#d55e00' lw 1.8 notitle, $p0s1 using 1:5 with points lc rgb '#d55e00' lw 1.8 pt 5 ps 0.4 notitle, $p0s2 using 1:2 with lines lc rgb '#009e73' lw 1.8 notitle, $p0s2 using 1:5 with points lc rgb '#009e73' lw 1.8 pt 9 ps 0.4 notitle, $p0s3 using 1:2 with lines lc rgb '#cc79a7' lw 1.8 notitle, $p0s3 using 1:5 with points lc rgb '#cc79a7' lw 1.8 pt 13 ps 0.4 notitle, NaN notitle
  set tmargin at screen 0.497030
  set bmargin at screen 0.219802
  unset label
  set label 1 'Test accuracy (%)' at screen 0.018405,0.522772 left font ',9'
  set label 2 'goodness: as in the paper' at screen 0.944785,0.522772 right font ',9'
  set label 3 'Epoch' at screen 0.533742,0.162376 center font ',9'
  set xrange [1:1000]
  set logscale x
  set format x '%g'
  set xtics nomirror autofreq
  set yrange [0:100]
  unset logscale y
  set format y '%g'
  set ytics nomirror 0,20,100.00002
  plot $p1s4 using 1:2 with lines lc rgb '#7fb8d8' lw 1 dt (7,4) notitle, $p1s5 using 1:2 with lines lc rgb '#7fceb9' lw 1 dt (7,4) notitle, $p1s0 using 1:2 with lines lc rgb '#0072b2' lw 1.8 notitle, $p1s0 using 1:5 with points lc rgb '#0072b2' lw 1.8 pt 7 ps 0.4 notitle, $p1s1 using 1:2 with lines lc rgb '#d55e00' lw 1.8 notitle, $p1s1 using 1:5 with points lc rgb '#d55e00' lw 1.8 pt 5 ps 0.4 notitle, $p1s2 using 1:2 with lines lc rgb '#009e73' lw 1.8 notitle, $p1s2 using 1:5 with points lc rgb '#009e73' lw 1.8 pt 9 ps 0.4 notitle, $p1s3 using 1:2 with lines lc rgb '#cc79a7' lw 1.8 notitle, $p1s3 using 1:5 with points lc rgb '#cc79a7' lw 1.8 pt 13 ps 0.4 notitle, NaN notitle
  unset multiplot
  unset output
}
