module ocore.dev/tests/apiservers

go 1.22.0
