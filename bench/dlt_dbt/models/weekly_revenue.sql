{{ rolled_up('week') }}
