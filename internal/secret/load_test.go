package secret_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"gatehouse/internal/secret"
)

func TestLoad_tellsWhatThePoolDoes(t *testing.T) {
	p := secret.NewPool(1, time.Nanosecond, func() time.Time { return time.Unix(0, 0) })
	inside, leave := make(chan struct{}), make(chan struct{})
	ended := make(chan error)
	go func() { ended <- p.Do(context.Background(), "a", func() { close(inside); <-leave }) }()
	<-inside
	if running, waiting, refused := p.Load(); running != 1 || waiting != 0 || refused != 0 {
		t.Errorf("one at work is %d, %d, %d", running, waiting, refused)
	}
	full := 0
	others := make(chan error, 3)
	for range 3 { // two places to wait
		go func() { others <- p.Do(context.Background(), "a", func() {}) }()
	}
	var busy *secret.BusyError
	if err := <-others; errors.As(err, &busy) {
		full++
	}
	if running, waiting, refused := p.Load(); running != 1 || waiting != 2 || refused != 1 || full != 1 {
		t.Errorf("three more are %d, %d, %d", running, waiting, refused)
	}
	close(leave)
	for range 2 {
		<-others
	}
	<-ended
	if running, waiting, refused := p.Load(); running != 0 || waiting != 0 || refused != 1 {
		t.Errorf("afterwards it is %d, %d, %d", running, waiting, refused)
	}
}
