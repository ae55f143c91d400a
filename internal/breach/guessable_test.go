package breach

import (
	"strings"
	"testing"
)

func TestGuessable_knowsWhatIsMadeOfACommonOne(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		"password", "Password123", "password1234567", "P@ssw0rd", "p@ssw0rd!", "hunter2", "Dragon1987", "monkey!", "letmein 2024",
		"qwerty2023!", "trustno1!", "12345678901234", "1234567890", "987654321", "aaaaaaaaaaaa", "abcdefghijk", "zyxwvut",
		"monkeymonkey", "12341234", "w3lc0me", "iloveyou1!",
	} {
		if !Guessable(p, Common) {
			t.Errorf("%q passes, and every program that guesses tries it", p)
		}
	}
}

func TestGuessable_leavesOthersAlone(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		"", "a", "ab", "abc", "correct horse battery", "correct horse 1", "a good password", "password of my own", "my dragon flies at 7",
		"dragon48151623", "zK4!vq9_Lw2#", "x7", "tr0ub4dor&3 and more", "1358", "19871206xy", strings.Repeat("xq", 20), "пароль никто не знает",
		"\xff\xfe\xfd\xfc", "a1b2c3d4e5f6", "monkey dragon", "2024-11-22 in the rain",
	} {
		if Guessable(p, Common) {
			t.Errorf("%q is refused", p)
		}
	}
}

func TestGuessable_asksAListOfOnesOwn(t *testing.T) {
	t.Parallel()
	list, err := Read(strings.NewReader("gatehouse\n"))
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]bool{"Gatehouse": true, "g4teh0use!": true, "gatehousegatehouse": true, "gatehouse keeper": false} {
		if got := Guessable(p, list.Has); got != want {
			t.Errorf("%q: %v, want %v", p, got, want)
		}
	}
}

func FuzzGuessable(f *testing.F) {
	f.Add("P@ssw0rd123!")
	f.Add("9012")
	f.Fuzz(func(t *testing.T, p string) {
		if Common(strings.ToLower(p)) && !Guessable(p, Common) {
			t.Errorf("%q is on the list and passes", p)
		}
	})
}
