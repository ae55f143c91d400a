package phone

import "strings"

// twoDigitCodes are the calling codes of two digits. 1 and 7 have one digit,
// all others three (ITU-T E.164, list of assigned country codes).
const twoDigitCodes = " 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 " +
	"60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98 "

// countries are the calling codes of the world, and the beginnings of numbers
// where one code serves several countries. The longest prefix counts.
//
// Where a country is divided from another only by scattered ranges (Saint
// Barthélemy and Saint Martin, Pitcairn, South Georgia, the mobiles of Åland),
// the larger one stands for both.
var countries = []struct{ country, prefixes string }{
	// +1, the North American plan: the United States where no area code says otherwise.
	{"US", "1"}, // United States
	{"CA", "1204 1226 1236 1249 1250 1257 1263 1289 1306 1343 1354 1365 1367 1368 1382 1387 1403 1416 " +
		"1418 1428 1431 1437 1438 1450 1460 1468 1474 1506 1514 1519 1537 1548 1568 1579 1581 1584 " +
		"1587 1600 1604 1613 1622 1633 1639 1644 1647 1655 1672 1677 1683 1688 1705 1709 1742 1753 " +
		"1778 1780 1782 1807 1819 1825 1867 1873 1879 1902 1905 1942"}, // Canada, with its codes of no area (600, 622, …)
	{"BS", "1242"},           // Bahamas
	{"BB", "1246"},           // Barbados
	{"AI", "1264"},           // Anguilla
	{"AG", "1268"},           // Antigua and Barbuda
	{"VG", "1284"},           // British Virgin Islands
	{"VI", "1340"},           // US Virgin Islands
	{"KY", "1345"},           // Cayman Islands
	{"BM", "1441"},           // Bermuda
	{"GD", "1473"},           // Grenada
	{"TC", "1649"},           // Turks and Caicos Islands
	{"JM", "1658 1876"},      // Jamaica
	{"MS", "1664"},           // Montserrat
	{"MP", "1670"},           // Northern Mariana Islands
	{"GU", "1671"},           // Guam
	{"AS", "1684"},           // American Samoa
	{"SX", "1721"},           // Sint Maarten
	{"LC", "1758"},           // Saint Lucia
	{"DM", "1767"},           // Dominica
	{"VC", "1784"},           // Saint Vincent and the Grenadines
	{"PR", "1787 1939"},      // Puerto Rico
	{"DO", "1809 1829 1849"}, // Dominican Republic
	{"TT", "1868"},           // Trinidad and Tobago
	{"KN", "1869"},           // Saint Kitts and Nevis
	// +2, Africa, and some Atlantic islands.
	{"EG", "20"},              // Egypt
	{"SS", "211"},             // South Sudan
	{"MA", "212"},             // Morocco
	{"EH", "2125288 2125289"}, // Western Sahara
	{"DZ", "213"},             // Algeria
	{"TN", "216"},             // Tunisia
	{"LY", "218"},             // Libya
	{"GM", "220"},             // Gambia
	{"SN", "221"},             // Senegal
	{"MR", "222"},             // Mauritania
	{"ML", "223"},             // Mali
	{"GN", "224"},             // Guinea
	{"CI", "225"},             // Côte d'Ivoire
	{"BF", "226"},             // Burkina Faso
	{"NE", "227"},             // Niger
	{"TG", "228"},             // Togo
	{"BJ", "229"},             // Benin
	{"MU", "230"},             // Mauritius
	{"LR", "231"},             // Liberia
	{"SL", "232"},             // Sierra Leone
	{"GH", "233"},             // Ghana
	{"NG", "234"},             // Nigeria
	{"TD", "235"},             // Chad
	{"CF", "236"},             // Central African Republic
	{"CM", "237"},             // Cameroon
	{"CV", "238"},             // Cape Verde
	{"ST", "239"},             // São Tomé and Príncipe
	{"GQ", "240"},             // Equatorial Guinea
	{"GA", "241"},             // Gabon
	{"CG", "242"},             // Congo
	{"CD", "243"},             // Congo, Democratic Republic
	{"AO", "244"},             // Angola
	{"GW", "245"},             // Guinea-Bissau
	{"IO", "246"},             // British Indian Ocean Territory
	{"SH", "247 290"},         // Saint Helena, Ascension (247), Tristan da Cunha
	{"SC", "248"},             // Seychelles
	{"SD", "249"},             // Sudan
	{"RW", "250"},             // Rwanda
	{"ET", "251"},             // Ethiopia
	{"SO", "252"},             // Somalia
	{"DJ", "253"},             // Djibouti
	{"KE", "254"},             // Kenya
	{"TZ", "255"},             // Tanzania
	{"UG", "256"},             // Uganda
	{"BI", "257"},             // Burundi
	{"MZ", "258"},             // Mozambique
	{"ZM", "260"},             // Zambia
	{"MG", "261"},             // Madagascar
	{"RE", "262"},             // Réunion
	{"YT", "262269 262639"},   // Mayotte
	{"ZW", "263"},             // Zimbabwe
	{"NA", "264"},             // Namibia
	{"MW", "265"},             // Malawi
	{"LS", "266"},             // Lesotho
	{"BW", "267"},             // Botswana
	{"SZ", "268"},             // Eswatini
	{"KM", "269"},             // Comoros
	{"ZA", "27"},              // South Africa
	{"ER", "291"},             // Eritrea
	{"AW", "297"},             // Aruba
	{"FO", "298"},             // Faroe Islands
	{"GL", "299"},             // Greenland
	// +3 and +4, Europe.
	{"GR", "30"},          // Greece
	{"NL", "31"},          // Netherlands
	{"BE", "32"},          // Belgium
	{"FR", "33"},          // France
	{"ES", "34"},          // Spain
	{"GI", "350"},         // Gibraltar
	{"PT", "351"},         // Portugal
	{"LU", "352"},         // Luxembourg
	{"IE", "353"},         // Ireland
	{"IS", "354"},         // Iceland
	{"AL", "355"},         // Albania
	{"MT", "356"},         // Malta
	{"CY", "357"},         // Cyprus
	{"FI", "358"},         // Finland
	{"AX", "35818"},       // Åland: its lines; its mobiles are among Finland's
	{"BG", "359"},         // Bulgaria
	{"HU", "36"},          // Hungary
	{"LT", "370"},         // Lithuania
	{"LV", "371"},         // Latvia
	{"EE", "372"},         // Estonia
	{"MD", "373"},         // Moldova
	{"AM", "374"},         // Armenia
	{"BY", "375"},         // Belarus
	{"AD", "376"},         // Andorra
	{"MC", "377"},         // Monaco
	{"SM", "378"},         // San Marino
	{"VA", "379 3906698"}, // Vatican City: its own code is not in use, it is reached through Rome
	{"UA", "380"},         // Ukraine
	{"RS", "381"},         // Serbia
	{"ME", "382"},         // Montenegro
	{"XK", "383"},         // Kosovo
	{"HR", "385"},         // Croatia
	{"SI", "386"},         // Slovenia
	{"BA", "387"},         // Bosnia and Herzegovina
	{"MK", "389"},         // North Macedonia
	{"IT", "39"},          // Italy
	{"RO", "40"},          // Romania
	{"CH", "41"},          // Switzerland
	{"CZ", "420"},         // Czechia
	{"SK", "421"},         // Slovakia
	{"LI", "423"},         // Liechtenstein
	{"AT", "43"},          // Austria
	{"GB", "44"},          // United Kingdom
	{"GG", "441481 447781 447839 4479111 4479117"},                       // Guernsey
	{"JE", "441534 447509 4477003 4477007 4477008 447797 447829 447937"}, // Jersey
	{"IM", "441624 4474576 447524 447624 447924"},                        // Isle of Man
	{"DK", "45"},   // Denmark
	{"SE", "46"},   // Sweden
	{"NO", "47"},   // Norway
	{"SJ", "4779"}, // Svalbard and Jan Mayen
	{"PL", "48"},   // Poland
	{"DE", "49"},   // Germany
	// +5, Central and South America.
	{"FK", "500"},            // Falkland Islands
	{"BZ", "501"},            // Belize
	{"GT", "502"},            // Guatemala
	{"SV", "503"},            // El Salvador
	{"HN", "504"},            // Honduras
	{"NI", "505"},            // Nicaragua
	{"CR", "506"},            // Costa Rica
	{"PA", "507"},            // Panama
	{"PM", "508"},            // Saint Pierre and Miquelon
	{"HT", "509"},            // Haiti
	{"PE", "51"},             // Peru
	{"MX", "52"},             // Mexico
	{"CU", "53"},             // Cuba
	{"AR", "54"},             // Argentina
	{"BR", "55"},             // Brazil
	{"CL", "56"},             // Chile
	{"CO", "57"},             // Colombia
	{"VE", "58"},             // Venezuela
	{"GP", "590"},            // Guadeloupe, Saint Barthélemy, Saint Martin
	{"BO", "591"},            // Bolivia
	{"GY", "592"},            // Guyana
	{"EC", "593"},            // Ecuador
	{"GF", "594"},            // French Guiana
	{"PY", "595"},            // Paraguay
	{"MQ", "596"},            // Martinique
	{"SR", "597"},            // Suriname
	{"UY", "598"},            // Uruguay
	{"BQ", "5993 5994 5997"}, // Bonaire, Sint Eustatius, Saba
	{"CW", "5996 5999"},      // Curaçao
	// +6, South-East Asia and Oceania.
	{"MY", "60"},      // Malaysia
	{"AU", "61"},      // Australia
	{"CC", "6189162"}, // Cocos Islands
	{"CX", "6189164"}, // Christmas Island
	{"ID", "62"},      // Indonesia
	{"PH", "63"},      // Philippines
	{"NZ", "64"},      // New Zealand
	{"SG", "65"},      // Singapore
	{"TH", "66"},      // Thailand
	{"TL", "670"},     // Timor-Leste
	{"AQ", "6721"},    // Antarctica: the Australian stations
	{"NF", "6723"},    // Norfolk Island
	{"BN", "673"},     // Brunei
	{"NR", "674"},     // Nauru
	{"PG", "675"},     // Papua New Guinea
	{"TO", "676"},     // Tonga
	{"SB", "677"},     // Solomon Islands
	{"VU", "678"},     // Vanuatu
	{"FJ", "679"},     // Fiji
	{"PW", "680"},     // Palau
	{"WF", "681"},     // Wallis and Futuna
	{"CK", "682"},     // Cook Islands
	{"NU", "683"},     // Niue
	{"WS", "685"},     // Samoa
	{"KI", "686"},     // Kiribati
	{"NC", "687"},     // New Caledonia
	{"TV", "688"},     // Tuvalu
	{"PF", "689"},     // French Polynesia
	{"TK", "690"},     // Tokelau
	{"FM", "691"},     // Micronesia
	{"MH", "692"},     // Marshall Islands
	// +7.
	{"RU", "7"},     // Russia
	{"KZ", "76 77"}, // Kazakhstan
	// +8, East Asia. The worldwide services among these codes have no country.
	{"JP", "81"},  // Japan
	{"KR", "82"},  // South Korea
	{"VN", "84"},  // Vietnam
	{"KP", "850"}, // North Korea
	{"HK", "852"}, // Hong Kong
	{"MO", "853"}, // Macao
	{"KH", "855"}, // Cambodia
	{"LA", "856"}, // Laos
	{"CN", "86"},  // China
	{"BD", "880"}, // Bangladesh
	{"TW", "886"}, // Taiwan
	// +9, West, Central and South Asia.
	{"TR", "90"},  // Türkiye
	{"IN", "91"},  // India
	{"PK", "92"},  // Pakistan
	{"AF", "93"},  // Afghanistan
	{"LK", "94"},  // Sri Lanka
	{"MM", "95"},  // Myanmar
	{"MV", "960"}, // Maldives
	{"LB", "961"}, // Lebanon
	{"JO", "962"}, // Jordan
	{"SY", "963"}, // Syria
	{"IQ", "964"}, // Iraq
	{"KW", "965"}, // Kuwait
	{"SA", "966"}, // Saudi Arabia
	{"YE", "967"}, // Yemen
	{"OM", "968"}, // Oman
	{"PS", "970"}, // Palestine
	{"AE", "971"}, // United Arab Emirates
	{"IL", "972"}, // Israel
	{"BH", "973"}, // Bahrain
	{"QA", "974"}, // Qatar
	{"BT", "975"}, // Bhutan
	{"MN", "976"}, // Mongolia
	{"NP", "977"}, // Nepal
	{"IR", "98"},  // Iran
	{"TJ", "992"}, // Tajikistan
	{"TM", "993"}, // Turkmenistan
	{"AZ", "994"}, // Azerbaijan
	{"GE", "995"}, // Georgia
	{"KG", "996"}, // Kyrgyzstan
	{"UZ", "998"}, // Uzbekistan
}

// longest is the most digits a prefix of countries has.
const longest = 7

var countryOf = func() map[string]string {
	m := map[string]string{}
	for _, row := range countries {
		for p := range strings.FieldsSeq(row.prefixes) {
			m[p] = row.country
		}
	}
	return m
}()

// premiums are ranges that cost the sender or reach no person; a dot is any
// digit. The longest prefix counts; an empty reason takes a range out again.
// It holds what the plans of large countries set apart for good, not every
// tariff of the world: a country that is not wanted is better left out by the
// operator's list of countries.
var premiums = []struct{ prefix, why string }{
	// Worldwide (ITU-T E.164 assigned codes).
	{"800", "international freephone: a company"},
	{"808", "international shared cost"},
	{"870", "Inmarsat satellites"},
	{"878", "universal personal numbers"},
	{"881", "satellites: Iridium, Globalstar and others"},
	{"882", "international networks: Thuraya and other satellites, ships, machines"},
	{"883", "international networks: aircraft, machines, iNum"},
	{"888", "disaster relief, no longer in use"},
	{"979", "international premium rate"},
	{"991", "trial of a correspondence service"},

	// North American plan: one code, many countries.
	{"1900", "premium rate"},
	{"1976", "premium rate"},
	{"1...976", "premium-rate exchange of an area"},
	{"1800", "freephone: a company"},
	{"1822", "freephone, reserved"},
	{"1833", "freephone"},
	{"1844", "freephone"},
	{"1855", "freephone"},
	{"1866", "freephone"},
	{"1877", "freephone"},
	{"1888", "freephone"},
	{"1500", "personal numbers, at the caller's cost"},
	{"1521", "personal numbers and machines"},
	{"1522", "personal numbers and machines"},
	{"1533", "personal numbers and machines"},
	{"1544", "personal numbers and machines"},
	{"1566", "personal numbers and machines"},
	{"1577", "personal numbers and machines"},
	{"1588", "personal numbers and machines"},
	{"1700", "services of a network"},
	{"1710", "United States government"},

	// Europe.
	{"3090", "GR premium"},
	{"31900", "NL premium"},
	{"31906", "NL premium, adult"},
	{"31909", "NL premium"},
	{"3270", "BE shared cost"},
	{"3290", "BE premium"},
	{"3381", "FR shared cost"},
	{"3382", "FR shared cost"},
	{"3389", "FR premium"},
	{"34803", "ES premium, adult"},
	{"34806", "ES premium"},
	{"34807", "ES premium"},
	{"34901", "ES shared cost"},
	{"34902", "ES shared cost"},
	{"34905", "ES televoting"},
	{"34907", "ES premium, data"},
	{"35160", "PT premium"},
	{"35164", "PT premium, adult"},
	{"35176", "PT televoting"},
	{"358600", "FI premium"},
	{"358700", "FI premium"},
	{"3690", "HU premium"},
	{"380900", "UA premium"},
	{"391", "IT services: numbers of people begin with 0 or 3"},
	{"3984", "IT shared cost"},
	{"3989", "IT premium"},
	{"4090", "RO premium"},
	{"4184", "CH shared cost"},
	{"4190", "CH premium"},
	{"42090", "CZ premium"},
	{"421900", "SK premium"},
	{"4382", "AT shared cost"},
	{"4390", "AT premium"},
	{"4393", "AT premium"},
	{"4455", "GB corporate numbers"},
	{"4470", "GB personal numbers, dear and often abused"},
	{"4476", "GB pagers"},
	{"447624", ""}, // mobiles of the Isle of Man
	{"4484", "GB shared cost"},
	{"4487", "GB shared cost"},
	{"449", "GB premium"},
	{"4590", "DK premium"},
	{"46900", "SE premium"},
	{"46939", "SE premium, televoting"},
	{"46944", "SE premium"},
	{"47820", "NO premium"},
	{"47829", "NO premium"},
	{"4870", "PL premium and televoting"},
	{"48801", "PL shared cost"},
	{"48804", "PL shared cost"},
	{"49118", "DE directory enquiries"},
	{"49137", "DE televoting"},
	{"49180", "DE shared cost"},
	{"49190", "DE premium, former"},
	{"49700", "DE personal numbers"},
	{"49900", "DE premium"},
	{"7803", "RU, KZ televoting"},
	{"7809", "RU, KZ premium"},
	{"90900", "TR premium"},

	// Elsewhere.
	{"2786", "ZA shared cost and premium"},
	{"2790", "ZA premium"},
	{"52900", "MX premium"},
	{"54600", "AR premium"},
	{"54609", "AR premium"},
	{"55900", "BR premium"},
	{"60600", "MY premium"},
	{"6119", "AU premium"},
	{"62809", "ID premium"},
	{"64900", "NZ premium"},
	{"651900", "SG premium"},
	{"661900", "TH premium"},
	{"81570", "JP shared cost"},
	{"81990", "JP premium"},
	{"8260", "KR premium"},
	{"841900", "VN premium"},
	{"92900", "PK premium"},
	{"966700", "SA premium"},
	{"971900", "AE premium"},
	{"9721900", "IL premium"},
	{"9721919", "IL premium"},
}
