#!/bin/sh
# Make a repository with the real DVC: make_dvc.sh DIR, with git and dvc on the path.
set -eu
mkdir -p "$1"
cd "$1"
git init -q .
git config user.email zoo@example.org
git config user.name zoo
dvc init -q
mkdir -p data/images/deep
printf 'aardvark,1\n' > data/zoo.csv
printf 'one' > data/images/1.png
printf 'two' > data/images/deep/2.png
dvc add -q data/zoo.csv data/images
dvc stage add -q -n prepare -d data/zoo.csv -o clean.csv 'cp data/zoo.csv clean.csv && echo bear,1 >> clean.csv'
dvc repro -q
rm -rf .git
