package wnode

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"whisperpush/pushext/voucher"
)

// maxVoucherFile bounds what is read from a file or standard input: keys, requests and vouchers are far smaller.
const maxVoucherFile = 64 << 10

func voucherCommand() *cli.Command {
	return &cli.Command{
		Name: "voucher", Usage: "make and buy vouchers, which pay for registrations and tell nobody whose they are",
		Description: "The operator makes a key with wnode voucher key, lists its public half in Push.Vouchers.KeyFiles, and keeps the private\n" +
			"half where vouchers are sold. Who buys one makes an order with wnode voucher order, and sends what it prints to the shop,\n" +
			"with the payment. The shop answers with what wnode voucher sign makes of it, and wnode voucher finish makes the voucher\n" +
			"of the answer, for wnode device register --voucher FILE. The shop cannot tell which voucher came from which order.",
		Subcommands: []*cli.Command{
			{
				Name: "key", Usage: "make a key: FILE with the private half, and FILE.pub with the public one", ArgsUsage: "FILE",
				Action: voucherKey,
			},
			{
				Name: "order", Usage: "begin to buy: keep the order in FILE, and print what the shop is to sign", ArgsUsage: "FILE",
				Flags:  []cli.Flag{voucherKeyFlag("public")},
				Action: voucherOrder,
			},
			{
				Name: "sign", Usage: "sign an order that was paid for: reads what order printed, and prints what finish reads",
				Flags:  []cli.Flag{voucherKeyFlag("private")},
				Action: voucherSign,
			},
			{
				Name: "finish", Usage: "print the voucher of the order in FILE, with what sign printed on the standard input", ArgsUsage: "FILE",
				Flags:  []cli.Flag{voucherKeyFlag("public")},
				Action: voucherFinish,
			},
		},
	}
}

func voucherKeyFlag(half string) cli.Flag {
	return &cli.StringFlag{Name: "key", Usage: "`FILE` with the " + half + " key of the shop", Required: true}
}

// Labels in front of the base64 text in the file of an order, or of a voucher.
const (
	orderLabel   = "order"
	voucherLabel = "voucher"
)

func voucherKey(c *cli.Context) error {
	file, err := oneArgument(c, "FILE")
	if err != nil {
		return err
	}
	key, err := voucher.NewKey()
	if err != nil {
		return err
	}
	if err := createFile(file, key.PEM(), 0o600); err != nil {
		return err
	}
	if err := createFile(file+".pub", key.Public().PEM(), 0o644); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s  private: stays where vouchers are sold, and nowhere else\n%s.pub  public: list it in Push.Vouchers.KeyFiles, and publish it\n", file, file)
	return err
}

// voucherBuyer reads what a buyer gives: the file of their order, and the shop's public key.
func voucherBuyer(c *cli.Context) (file string, key *voucher.PublicKey, err error) {
	if file, err = oneArgument(c, "FILE"); err != nil {
		return "", nil, err
	}
	key, err = readVoucherKey(c, voucher.ParsePublicKey)
	return file, key, err
}

func voucherOrder(c *cli.Context) error {
	file, key, err := voucherBuyer(c)
	if err != nil {
		return err
	}
	order, err := voucher.NewOrder(key)
	if err != nil {
		return err
	}
	secret := order.Secret()
	if err := createFile(file, labelled(orderLabel, secret[:]), 0o600); err != nil {
		return err
	}
	return printBase64(c, order.Blinded())
}

func voucherSign(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	key, err := readVoucherKey(c, voucher.ParseKey)
	if err != nil {
		return err
	}
	blinded, err := readBase64(c, "what wnode voucher order printed")
	if err != nil {
		return err
	}
	signature, err := key.Sign(blinded)
	if err != nil {
		return err
	}
	return printBase64(c, signature)
}

func voucherFinish(c *cli.Context) error {
	file, key, err := voucherBuyer(c)
	if err != nil {
		return err
	}
	secret, err := readLabelled(file, orderLabel, voucher.SecretSize)
	if err != nil {
		return err
	}
	order, err := voucher.ResumeOrder(key, [voucher.SecretSize]byte(secret))
	if err != nil {
		return err
	}
	signature, err := readBase64(c, "what wnode voucher sign printed")
	if err != nil {
		return err
	}
	bought, err := order.Finish(signature)
	if err != nil {
		return fmt.Errorf("%w: %s", err, file)
	}
	_, err = c.App.Writer.Write(labelled(voucherLabel, bought))
	return err
}

// readVoucher reads a file with what wnode voucher finish printed.
func readVoucher(file string) ([]byte, error) { return readLabelled(file, voucherLabel, voucher.Size) }

// readVoucherKey reads the key of --key.
func readVoucherKey[K any](c *cli.Context, parse func([]byte) (K, error)) (key K, err error) {
	text, err := readSome(c.String("key"))
	if err != nil {
		return key, fmt.Errorf("read --key: %w", err)
	}
	if key, err = parse(text); err != nil {
		return key, fmt.Errorf("read --key %s: %w", c.String("key"), err)
	}
	return key, nil
}

// labelled is the content of a file: a word that says what follows in base64.
func labelled(what string, b []byte) []byte {
	return fmt.Appendf(nil, "%s %s\n", what, base64.StdEncoding.EncodeToString(b))
}

// readLabelled reads what labelled wrote.
func readLabelled(file, what string, size int) ([]byte, error) {
	text, err := readSome(file)
	if err != nil {
		return nil, fmt.Errorf("read the %s: %w", what, err)
	}
	rest, ok := strings.CutPrefix(string(text), what+" ")
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	if !ok || err != nil || len(b) != size {
		return nil, fmt.Errorf("%s does not hold one %s; wnode voucher --help tells how to get one", file, what)
	}
	return b, nil
}

func readSome(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxVoucherFile))
}

// createFile makes a file, which must not exist.
func createFile(file string, text []byte, mode os.FileMode) error {
	err := writeNew(file, text, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already, and is not overwritten; give another name", file)
	}
	return err
}

// readBase64 reads base64 from standard input.
func readBase64(c *cli.Context, what string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(c.App.Reader, maxVoucherFile))
	if err != nil {
		return nil, fmt.Errorf("read the standard input: %w", err)
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("the standard input is not base64; give it %s", what)
	}
	return b, nil
}

func printBase64(c *cli.Context, b []byte) error {
	_, err := fmt.Fprintln(c.App.Writer, base64.StdEncoding.EncodeToString(b))
	return err
}
