// In a file of its own: the page's Content-Security-Policy allows no script in the page.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  // Else a badge of another site is loaded, with the address of this one.
  validatorUrl: null,
  // A token that is pasted is forgotten with the page.
  persistAuthorization: false,
});
