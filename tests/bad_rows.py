"""Rows that no import may take, each appended to a file of tests/data/import."""
# ruff: noqa: E501

from __future__ import annotations

ORGANIZER = "organizers.csv"
EVENT = "events.csv"
TYPE = "ticket_types.csv"
ORDER = "orders.csv"
TICKET = "tickets.csv"
PAYMENT = "payments.csv"
REFUND = "refunds.csv"
# Each row is appended to a file: its line, and the column and beginning of the reason expected.
LINE = {ORGANIZER: 4, EVENT: 6, TYPE: 4, ORDER: 10, TICKET: 13, PAYMENT: 8, REFUND: 4}
# fmt: off
BAD_ROWS = [
    (ORGANIZER, b"1,Again,KE,,", "organizer_id", "repeats a key; keep one of the rows (first on line 2)"),
    (ORGANIZER, b"3,,KE,,", "name", "is empty; every row needs it"),
    (ORGANIZER, b"3,A\0B,KE,,", "name", "holds a NUL character"),
    (ORGANIZER, b"3,A\xffB,KE,,", "name", "is not valid UTF-8"),
    (ORGANIZER, b"3,A,KE,Mars/Base,", "timezone", "is not an IANA time zone"),
    (ORGANIZER, b"3,A,KE,,kes", "currency", "is not an ISO 4217 currency code"),
    (ORGANIZER, b"3,A,KE", "", "has another number of columns than the header; check its commas (3 instead of 5)"),
    (ORGANIZER, b'3,"A"B,KE,,', "", "cannot be read as CSV; check its quotes"),
    (ORGANIZER, b'3,"A,KE,,', "", "cannot be read as CSV; check its quotes"),
    (EVENT, b"4,9,A,,2024-05-01 10:00,,,", "organizer_id", "is not in organizers.csv"),
    (EVENT, b"4,1,A,,2024-03-10 02:30,America/New_York,,", "starts_at_local", "never happened: clocks were put forward"),
    (EVENT, b"4,1,A,,2024-11-03 01:30,America/New_York,,", "starts_at_local", "happened twice: clocks were put back"),
    (EVENT, b"4,1,A,,1999-12-31 10:00,,,", "starts_at_local", "is outside the years 2000 to 2100"),
    (EVENT, b"4,1,A,,2024-02-30 10:00,,,", "starts_at_local", "is not an instant of the calendar"),
    (EVENT, b"4,1,A,,2024-02-20T10:00Z,,,", "starts_at_local", "has a UTC offset"),
    (EVENT, b"4,1,A,,,,,-5", "capacity", "is negative"),
    (TYPE, b"3,1,A,vip,5,KES,", "kind", "is not known; write one of: admission, add_on, donation"),
    (TYPE, b"3,1,A,,5.005,KES,", "price", "is not an amount of its currency ('5.005' is finer"),
    (TYPE, b"3,1,A,,1e3,KES,", "price", "is not an amount of its currency"),
    (TYPE, b"3,1,A,,5,UGX,", "currency", "is not the currency of its event (which is KES)"),
    (TYPE, b"3,1,A,,92233720368547758.08,,", "price", "is not an amount of its currency"),
    (TYPE, b"3,1,A,,-5,,", "price", "is negative"),
    (ORDER, b"x,1,,,pending,,,,,,,,2024-01-10T22:28:00Z,,,,", "order_id", "is not a whole number"),
    (ORDER, b"9223372036854775808,1,,,pending,,,,,,,,2024-01-10T22:28:00Z,,,,", "order_id", "does not fit 64 bits"),
    (ORDER, b"8,99,,,pending,,,,,,,,2024-01-10T22:28:00Z,,,,", "event_id", "is not in events.csv"),
    (ORDER, b"8,1,,,refunded,,,,,,,,2024-01-10T22:28:00Z,,,,", "status", "is not known"),
    (ORDER, b"8,1,,,pending,,,,,,,maybe,2024-01-10T22:28:00Z,,,,", "is_test", "is neither true nor false"),
    (ORDER, b"8,1,,,pending,,,,,,,,2024-01-10 22:28,,,,", "placed_at", "has no UTC offset"),
    (ORDER, b"8,1,,,pending,,,,,,,,2024-01-10T22:28:00.0000001Z,,,,", "placed_at", "is finer than a microsecond"),
    (ORDER, b"8,1,,,pending,,,,,,,,10/01/2024,,,,", "placed_at", "is not an instant"),
    (ORDER, b"8,1,,,paid,,,,,0,,,2024-01-10T22:28:00Z,2024-01-11 01:31,2024-01-10T22:30Z,,", "completed_at_utc", "contradicts the UTC column beside it"),
    (ORDER, b"8,1,,,paid,,,,,0,,,2024-01-10T22:28:00Z,,2024-01-10T22:27Z,,", "completed_at_utc", "is before placed_at"),
    (ORDER, b"8,1,,,cancelled,,,,,,,,2024-01-10T22:28:00Z,,,,", "cancelled_at", "is empty though the order is cancelled"),
    (ORDER, b"8,1,,,pending,,,,,,,,2024-01-10T22:28:00Z,,,2024-01-11T22:28:00Z,", "status", "contradicts cancelled_at"),
    (ORDER, b"8,1,,,paid,,,,,10,,,2024-01-10T22:28:00Z,,,,", "gross", "is not the sum of its tickets"),
    (ORDER, b"8,1,,,paid,,,,,,2,,2024-01-10T22:28:00Z,,,,", "tickets", "is not the number of its tickets"),
    (TICKET, b"11,1,99,1,1,,1,,,,,", "order_id", "is not in orders.csv"),
    (TICKET, b"11,1,2,1,1,,1,,,,,", "order_id", "is an order that was never completed"),
    (PAYMENT, b"7,1,BITCOIN,cash,confirmed,KES,1,,,2024-01-10T22:28:00Z", "provider", "is not known"),
    (PAYMENT, b"7,1,CASH,cash,confirmed,UGX,1,,,2024-01-10T22:28:00Z", "currency", "is not the currency of its order (which is KES)"),
    (PAYMENT, b"7,1,CASH,cash,confirmed,KES,1,,2024-01-10T22:28:00Z,", "confirmed_at", "is empty though the payment is confirmed"),
    (PAYMENT, b"7,1,CASH,cash,confirmed,,1,,2024-01-10T22:28:00Z,2024-01-10T22:28:00Z", "amount", "is an amount without a currency"),
    (REFUND, b"3,1,99,1,requested,1,,,2024-01-10T22:28:00Z,,", "payment_id", "is not in payments.csv"),
    (REFUND, b"3,1,3,1,requested,1,,,2024-01-10T22:28:00Z,,", "payment_id", "is a payment of another order (of order 4)"),
    (REFUND, b"3,1,,1,requested,1,,,2024-01-10T22:28:00Z,,", "payment_id", "is empty, as is provider or instrument"),
    (REFUND, b"3,1,2,2,requested,1,,,2024-01-10T22:28:00Z,,", "event_id", "is not the event of its order (which is 1)"),
    (REFUND, b"3,1,2,1,requested,1.5,,,2024-01-10T22:28:00Z,,", "amount_minor", "is not a whole number of minor units"),
]
