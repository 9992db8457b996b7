// An OpenID Connect provider for the tests of the page: zitadel's library and its example server, with users and claims from a file.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// users are known by their subject.
type users map[string]struct {
	Password string
	Claims   map[string]any
}

func (u users) GetUserByID(id string) *storage.User {
	user, known := u[id]
	if !known {
		return nil
	}
	return &storage.User{ID: id, Username: id, Password: user.Password}
}

func (u users) GetUserByUsername(name string) *storage.User { return u.GetUserByID(name) }

func (u users) ExampleClientID() string { return "none" }

// page is a public client. Its port is any of loopback's, as for native applications.
type page struct{ *storage.Client }

func (page) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// store keeps everything in memory. Tokens live as long as it is told.
type store struct {
	*storage.Storage
	users    users
	lifetime time.Duration
}

func (s store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return page{client.(*storage.Client)}, nil
}

func (s store) GetPrivateClaimsFromScopes(_ context.Context, user, _ string, _ []string) (map[string]any, error) {
	return s.users[user].Claims, nil
}

func (s store) CreateAccessToken(ctx context.Context, request op.TokenRequest) (string, time.Time, error) {
	id, _, err := s.Storage.CreateAccessToken(ctx, request)
	return id, time.Now().Add(s.lifetime), err
}

func (s store) CreateAccessAndRefreshTokens(
	ctx context.Context, request op.TokenRequest, current string,
) (string, string, time.Time, error) {
	id, refresh, _, err := s.Storage.CreateAccessAndRefreshTokens(ctx, request, current)
	return id, refresh, time.Now().Add(s.lifetime), err
}

func main() {
	address := flag.String("address", "127.0.0.1:9998", "where it listens")
	issuer := flag.String("issuer", "http://localhost:9998", "its URL")
	redirect := flag.String("redirect", "http://127.0.0.1/ui/signed-in", "the only address that answers go to")
	file := flag.String("users", "", `JSON: {"subject": {"Password": "…", "Claims": {…}}}`)
	lifetime := flag.Duration("lifetime", time.Hour, "of a token")
	flag.Parse()
	content, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	var known users
	if err := json.Unmarshal(content, &known); err != nil {
		log.Fatal(err)
	}
	storage.RegisterClients(storage.NativeClient("page", *redirect))
	router := exampleop.SetupServer(*issuer, store{storage.NewStorage(known), known, *lifetime}, nil, false)
	server := &http.Server{Addr: *address, Handler: router, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
