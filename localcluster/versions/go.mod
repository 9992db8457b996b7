module localcluster/versions

go 1.22.0
