{{ rolled_up('month') }}
