#!/bin/sh
# Make a root that has something of everything, with the `regcli` on the path: make_format_sample.sh DIR.
# Its result is kept as tests/data/format-N.tar.xz for every released format; a later program must read it.
set -eu
mkdir -p "$1"
cd "$1"
export REGCLI_ROOT="$PWD/root" REGCLI_AUTOMATIONS=manual
mkdir -p data/deep
printf 'one\n' > data/a.txt
printf '' > data/empty
printf '#!/bin/sh\n' > data/run.sh
chmod +x data/run.sh
printf 'x' > 'data/deep/ü 동물.txt'
head -c 1500000 /dev/zero > data/large.bin
regcli init --ttl 365d > /dev/null
regcli registry create 'Golden Datasets' --type dataset -d 'the best' > /dev/null
regcli log data -n zoo -t dataset -a first --tag small -d 'first edition' --meta rows=101 --metric accuracy=0.5 --run prepare > /dev/null
printf 'two\n' > data/a.txt
regcli log data -n zoo --metric accuracy=0.75 --input zoo:v0 > /dev/null
regcli link zoo:v0 'Golden Datasets/animals' -a production-us > /dev/null
regcli link zoo:v1 'Golden Datasets/animals' > /dev/null
regcli protect 'Golden Datasets' production > /dev/null
regcli alias add 'Golden Datasets/animals:v0' production -m 'passed the review' > /dev/null
regcli tag add 'Golden Datasets/animals' 'a collection tag' > /dev/null
regcli log data/a.txt -n gone -t model > /dev/null
regcli delete gone:v0 --delete-aliases > /dev/null
for number in $(seq 80); do
  printf '%s' "$number" > number.txt
  regcli log number.txt -n many -t model -a "n$number" > /dev/null
done
regcli collection edit many --rename 'plenty' > /dev/null
regcli member add model visitor --role viewer > /dev/null
regcli automation add tell --on alias-added --scope model/ --webhook http://127.0.0.1:9/ > /dev/null
regcli use 'Golden Datasets/animals:production' --run evaluate > /dev/null
rm -r data number.txt
