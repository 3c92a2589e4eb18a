package rival

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/jackc/pgx/v5"
)

// Topic is the topic of channel n, in the form of topics for welcome messages: everything
// there is delivered, and nothing in the message has to be looked up.
func Topic(n int) string {
	return "/xmtp/mls/1/w-" + hex.EncodeToString(crypto.Keccak256(fmt.Append(nil, n)))
}

// installation is the id of device i.
func installation(i int) string { return fmt.Sprintf("%064x", i) }

// Fill subscribes devices with these tokens to channels topics each, by rows in the tables of
// a server that was started once: device i has the topics i·channels and following. The rows
// are those that the server's API would write, but this takes less time.
func Fill(ctx context.Context, database string, tokens []string, channels int) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	fill := func(table string, columns []string, rows int, row func(i int) []any) error {
		n, err := conn.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return row(i), nil }))
		if err == nil && n != int64(rows) {
			err = fmt.Errorf("%d rows of %d", n, rows)
		}
		if err != nil {
			return fmt.Errorf("fill the rival's %s: %w", table, err)
		}
		return nil
	}
	if err := fill("installations", []string{"id"}, len(tokens), func(i int) []any { return []any{installation(i)} }); err != nil {
		return err
	}
	if err := fill("device_delivery_mechanisms", []string{"installation_id", "kind", "token"}, len(tokens),
		func(i int) []any { return []any{installation(i), "fcm", tokens[i]} }); err != nil {
		return err
	}
	if err := fill("subscriptions", []string{"installation_id", "topic", "is_active", "is_silent"}, len(tokens)*channels,
		func(i int) []any { return []any{installation(i / channels), Topic(i), true, false} }); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE")
	return err
}
