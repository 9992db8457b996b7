"""The script that starts Swagger UI, and in `dist` files of npm's `swagger-ui-dist`, compressed (`make swagger-ui`).
Nothing is loaded from elsewhere."""
